// Package scenarios is what every Go client of the matrix is put through, once, for all of them.
//
// It knows no client: a driver (franz, sarama) hands in a Client and calls Main, which runs the scenarios asked for and
// prints one JSON line each: {"scenario", "ok", "detail", "facts"}; ok is null where the client has no such thing. Topics that
// are not the scenario's own subject exist already: test_matrix.py makes them, and judges the facts.
package scenarios

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"
)

// Patience is how long anything may take that ought to happen at once.
const Patience = 20 * time.Second

// Record is one as it was read; Key and Value are nil where the record has none.
type Record struct {
	Topic      string
	Partition  int32
	Offset     int64
	Key, Value []byte
}

// Place is a partition of a topic.
type Place struct {
	Topic     string
	Partition int32
}

// Options of a member of a group.
type Options struct {
	Static              string
	Cooperative, KIP848 bool
}

// Producer waits for every acknowledgement.
type Producer interface {
	SendAll(topic string, keys, values []string) error
	Close()
}

// Transactional reads from, and writes to, topics in transactions: it is a consumer of a group, too.
type Transactional interface {
	// Copy reads count records of the topic as a member of the group and writes them to another one, the offsets with them, in
	// transactions of few; each third one is aborted first.
	Copy(group, from, to string, count int) error
	// Write writes one record in a transaction of its own.
	Write(topic, key, value string) error
	Close()
}

// Admin is what an admin client can do; what it lacks returns ErrLacking.
type Admin interface {
	Create(topic string, partitions int32, config map[string]string) error
	// Partitions is 0 if there is no such topic.
	Partitions(topic string) (int, error)
	Configs(topic string) (map[string]string, error)
	Alter(topic string, config map[string]string) error
	AddPartitions(topic string, total int32) error
	Delete(topic string) error
	Groups() ([]string, error)
	// Describe returns the state and the number of members.
	Describe(group string) (string, int, error)
	DeleteGroup(group string) error
}

// ErrLacking says that a client has no such request.
var ErrLacking = errors.New("not in this client")

// Client is what a driver provides.
type Client interface {
	Name() string
	Version() string
	Codecs() []string
	// Lacks names the scenarios that the client has nothing for, with the reason.
	Lacks() map[string]string
	Producer(codec string, idempotent bool) (Producer, error)
	// Transactional fences another one of its name.
	Transactional(name string) (Transactional, error)
	// Consume joins the group and hands records to the member until the context ends or the member is full; it commits
	// what the member took, leaves and returns.
	Consume(ctx context.Context, group string, topics []string, options Options, member *Member) error
	Admin() (Admin, error)
}

type facts map[string]any

type run struct {
	client         Client
	prefix, filled string
}

var all = map[string]func(*run) (string, facts, error){
	"produce": produce, "consume": consume, "idempotence": idempotence, "rebalance": rebalance, "cooperative": cooperative,
	"kip848": kip848, "static": static, "commit": commit, "admin": admin, "transactions": transactions,
}

// Main runs what the command line asks for.
func Main(open func(bootstrap string) (Client, error)) {
	bootstrap := flag.String("bootstrap", "", "host:port of a broker")
	prefix := flag.String("prefix", "", "begins the names of topics and groups")
	filled := flag.String("filled", "", "begins the names of the topics that have records, one a codec")
	names := flag.String("scenarios", "", "which to run, with commas between them")
	flag.Parse()
	client, err := open(*bootstrap)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	out := json.NewEncoder(os.Stdout)
	_ = out.Encode(facts{"client": client.Name(), "version": client.Version()})
	for _, name := range strings.Split(*names, ",") {
		_ = out.Encode((&run{client, *prefix, *filled}).scenario(name))
	}
}

func (r *run) scenario(name string) facts {
	line := facts{"scenario": name, "ok": nil, "detail": "", "facts": facts{}}
	if reason, lacking := r.client.Lacks()[name]; lacking {
		line["detail"] = reason
		return line
	}
	began := time.Now()
	detail, found, err := all[name](r)
	line["ok"], line["detail"] = err == nil, detail
	line["seconds"] = time.Since(began).Seconds()
	if err != nil {
		line["detail"] = err.Error()
	}
	if found != nil {
		line["facts"] = found
	}
	return line
}

func wait(what string, members []*Member, condition func() bool) error {
	deadline := time.Now().Add(Patience)
	for !condition() {
		for _, member := range members {
			if err := member.failure(); err != nil {
				return err
			}
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("waited %s for %s", Patience, what)
		}
		time.Sleep(20 * time.Millisecond)
	}
	return nil
}

func numbered(prefix string, count int) (keys, values []string) {
	for n := range count {
		keys = append(keys, fmt.Sprintf("key-%d", n%7))
		values = append(values, fmt.Sprintf("%s-%d %s", prefix, n, strings.Repeat("x", 40)))
	}
	return keys, values
}

func (r *run) send(topic, codec string, idempotent bool, parts []string, count int) error {
	producer, err := r.client.Producer(codec, idempotent)
	if err != nil {
		return err
	}
	defer producer.Close()
	for _, part := range parts {
		keys, values := numbered(part, count)
		if err := producer.SendAll(topic, keys, values); err != nil {
			return err
		}
	}
	return nil
}

func produce(r *run) (string, facts, error) {
	codecs := r.client.Codecs()
	for _, codec := range codecs {
		if err := r.send(r.prefix+"-produce-"+codec, codec, false, []string{codec}, 60); err != nil {
			return "", nil, fmt.Errorf("%s: %w", codec, err)
		}
	}
	return "codecs: " + strings.Join(codecs, ", "), facts{"codecs": codecs}, nil
}

func idempotence(r *run) (string, facts, error) {
	return "", nil, r.send(r.prefix+"-idempotence", "none", true, []string{"idempotent-0", "idempotent-1", "idempotent-2"}, 20)
}

func consume(r *run) (string, facts, error) {
	var topics []string
	for _, codec := range r.client.Codecs() {
		topics = append(topics, r.filled+"-"+codec)
	}
	member := r.join(r.prefix+"-consume", topics, 0, Options{})
	err := wait("the records of "+strings.Join(topics, ", "), []*Member{member}, func() bool { return member.count() >= 40*len(topics) })
	if err = errors.Join(err, member.Close()); err != nil {
		return "", nil, err
	}
	var read [][]any
	for _, record := range member.records() {
		read = append(read, []any{record.Topic, record.Partition, record.Offset, text(record.Key), text(record.Value)})
	}
	return "codecs: " + strings.Join(r.client.Codecs(), ", "), facts{"read": read}, nil
}

// text is null for what a record does not have.
func text(bytes []byte) any {
	if bytes == nil {
		return nil
	}
	return string(bytes)
}
