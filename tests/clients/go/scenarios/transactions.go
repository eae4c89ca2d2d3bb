package scenarios

import (
	"errors"
	"fmt"
	"time"
)

// transactions: a copy under read committed is the input; a second producer of the same name fences the first.
func transactions(r *run) (string, facts, error) {
	topic, out, id := r.prefix+"-transactions", r.prefix+"-transactions-out", r.prefix+"-id"
	if err := r.send(topic, "none", true, []string{"transactions"}, 120); err != nil {
		return "", nil, err
	}
	first, err := r.client.Transactional(id)
	if err != nil {
		return "", nil, err
	}
	defer first.Close()
	if err := first.Copy(topic, topic, out, 120); err != nil {
		return "", nil, fmt.Errorf("copy: %w", err)
	}
	second, err := r.client.Transactional(id)
	if err != nil {
		return "", nil, err
	}
	defer second.Close()
	if err := second.Write(out, "second", "of the second producer"); err != nil {
		return "", nil, err
	}
	fenced := first.Write(out, "first", "of a producer that is fenced")
	if fenced == nil {
		return "", nil, errors.New("the first producer was not fenced")
	}
	member := r.join(topic+"-reader", []string{out}, 0, Options{})
	if err := wait("what is committed", []*Member{member}, func() bool { return member.count() >= 121 }); err != nil {
		return "", nil, err
	}
	time.Sleep(300 * time.Millisecond)
	if err := member.Close(); err != nil {
		return "", nil, err
	}
	var read [][]string
	for _, record := range member.records() {
		read = append(read, []string{string(record.Key), string(record.Value)})
	}
	return "fenced: " + fenced.Error(), facts{"read": read}, nil
}
