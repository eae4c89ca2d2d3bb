package scenarios

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"
)

// Member is one consumer of a group and what it has seen. Drivers call Take, Gain and Lose, from any goroutine.
type Member struct {
	limit   int
	cancel  context.CancelFunc
	done    chan struct{}
	mu      sync.Mutex
	seen    []Record
	owned   map[Place]bool
	history []int
	changes int
	err     error
}

func (r *run) join(group string, topics []string, limit int, options Options) *Member {
	ctx, cancel := context.WithCancel(context.Background())
	m := &Member{limit: limit, cancel: cancel, done: make(chan struct{}), owned: map[Place]bool{}}
	go func() {
		defer close(m.done)
		err := r.client.Consume(ctx, group, topics, options, m)
		m.mu.Lock()
		defer m.mu.Unlock()
		m.err, m.owned = err, map[Place]bool{}
	}()
	return m
}

// Take keeps the record; false if the member is full and has not taken it.
func (m *Member) Take(record Record) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.limit > 0 && len(m.seen) >= m.limit {
		return false
	}
	m.seen = append(m.seen, record)
	return true
}

// Full is true when it has all that it was to take.
func (m *Member) Full() bool {
	return m.limit > 0 && m.count() >= m.limit
}

// Gain and Lose say which partitions it owns.
func (m *Member) Gain(places ...Place) {
	m.change(func() {
		for _, place := range places {
			m.owned[place] = true
		}
	})
}

func (m *Member) Lose(places ...Place) {
	m.change(func() {
		for _, place := range places {
			delete(m.owned, place)
		}
	})
}

func (m *Member) change(how func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	how()
	m.changes++
	m.history = append(m.history, len(m.owned))
}

// Close makes it leave and returns what it met on its way.
func (m *Member) Close() error {
	m.cancel()
	select {
	case <-m.done:
		return m.failure()
	case <-time.After(Patience):
		return fmt.Errorf("a consumer could not be closed in %s", Patience)
	}
}

func (m *Member) failure() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.err
}

func (m *Member) count() int { return len(m.records()) }

func (m *Member) records() []Record {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.seen
}

func (m *Member) owns() map[Place]bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.owned)
}

// stream produces numbered records until it is stopped; sent holds those that were acknowledged.
type stream struct {
	stop, done chan struct{}
	sent       int
	err        error
}

func (r *run) stream(topic string) *stream {
	s := &stream{stop: make(chan struct{}), done: make(chan struct{})}
	go func() {
		defer close(s.done)
		s.err = s.produce(r.client, topic)
	}()
	return s
}

func (s *stream) produce(client Client, topic string) error {
	producer, err := client.Producer("none", false)
	if err != nil {
		return err
	}
	defer producer.Close()
	for {
		select {
		case <-s.stop:
			return nil
		case <-time.After(50 * time.Millisecond):
		}
		var values []string
		for n := range 20 {
			values = append(values, fmt.Sprint(s.sent+n))
		}
		if err := producer.SendAll(topic, values, values); err != nil {
			return err
		}
		s.sent += len(values)
	}
}

func (s *stream) end() error {
	close(s.stop)
	<-s.done
	return s.err
}

// twoMembers: A joins, then B; B leaves; a stream of records all the while, of which none may be missed.
func (r *run) twoMembers(name string, options Options) (*Member, facts, error) {
	topic := r.prefix + "-" + name
	s := r.stream(topic)
	a := r.join(topic, []string{topic}, 0, options)
	if err := wait("the only member to own 4 partitions", []*Member{a}, func() bool { return len(a.owns()) == 4 }); err != nil {
		return a, nil, err
	}
	b := r.join(topic, []string{topic}, 0, options)
	both := []*Member{a, b}
	if err := wait("2 partitions for each of 2 members", both, func() bool { return apart(a.owns(), b.owns()) }); err != nil {
		return a, nil, err
	}
	if err := wait("records for the second member", both, func() bool { return b.count() > 0 }); err != nil {
		return a, nil, err
	}
	if err := b.Close(); err != nil {
		return a, nil, err
	}
	if err := wait("the remaining member to own 4 partitions", both, func() bool { return len(a.owns()) == 4 }); err != nil {
		return a, nil, err
	}
	if err := s.end(); err != nil {
		return a, nil, err
	}
	err := wait("every record of the stream at some member", both, func() bool { return missing(s.sent, a, b) == 0 })
	if err != nil {
		err = fmt.Errorf("%w: %d of %d did not come", err, missing(s.sent, a, b), s.sent)
	}
	return a, facts{"sent": s.sent, "second member saw": b.count()}, errors.Join(err, a.Close())
}

func apart(a, b map[Place]bool) bool {
	for place := range a {
		if b[place] {
			return false
		}
	}
	return len(a) == 2 && len(b) == 2
}

func missing(sent int, members ...*Member) int {
	found := map[string]bool{}
	for _, member := range members {
		for _, record := range member.records() {
			found[string(record.Value)] = true
		}
	}
	return sent - len(found)
}

func rebalance(r *run) (string, facts, error) {
	_, found, err := r.twoMembers("rebalance", Options{})
	return "", found, err
}

func kip848(r *run) (string, facts, error) {
	_, found, err := r.twoMembers("kip848", Options{KIP848: true})
	return "", found, err
}

// cooperative: whoever had partitions keeps those that do not move.
func cooperative(r *run) (string, facts, error) {
	a, found, err := r.twoMembers("cooperative", Options{Cooperative: true})
	if err != nil {
		return "", nil, err
	}
	first, last := slices.Index(a.history, 4), len(a.history)-1
	for a.history[last] != 4 {
		last--
	}
	if least := slices.Min(a.history[first : last+1]); least != 2 {
		return "", nil, fmt.Errorf("the first member was left with %d partitions in between: not cooperative", least)
	}
	return "", found, nil
}

// commit: half is read and committed; a new member reads exactly the other half.
func commit(r *run) (string, facts, error) {
	topic := r.prefix + "-commit"
	if err := r.send(topic, "none", false, []string{"commit"}, 100); err != nil {
		return "", nil, err
	}
	first := r.join(topic, []string{topic}, 50, Options{})
	if err := wait("the first half", []*Member{first}, func() bool { return first.count() >= 50 }); err != nil {
		return "", nil, err
	}
	<-first.done
	if err := first.failure(); err != nil {
		return "", nil, err
	}
	second := r.join(topic, []string{topic}, 0, Options{})
	if err := wait("the second half", []*Member{second}, func() bool { return second.count() >= 50 }); err != nil {
		return "", nil, err
	}
	time.Sleep(300 * time.Millisecond)
	if err := second.Close(); err != nil {
		return "", nil, err
	}
	read := map[string]int{}
	for _, record := range append(first.records(), second.records()...) {
		read[fmt.Sprint(record.Partition, record.Offset)]++
	}
	if len(read) != 100 || second.count() != 50 {
		return "", nil, fmt.Errorf("read %d and then %d records, %d different ones, of 100", first.count(), second.count(), len(read))
	}
	return "", nil, nil
}

// static: a static member (KIP-345) that goes and comes again has its partitions again, and the others notice nothing.
func static(r *run) (string, facts, error) {
	topic := r.prefix + "-static"
	a := r.join(topic, []string{topic}, 0, Options{Static: "a"})
	if err := wait("the only member to own 4 partitions", []*Member{a}, func() bool { return len(a.owns()) == 4 }); err != nil {
		return "", nil, err
	}
	b := r.join(topic, []string{topic}, 0, Options{Static: "b"})
	if err := wait("2 partitions for each", []*Member{a, b}, func() bool { return apart(a.owns(), b.owns()) }); err != nil {
		return "", nil, err
	}
	had, changes := a.owns(), b.changes
	if err := a.Close(); err != nil {
		return "", nil, err
	}
	again := r.join(topic, []string{topic}, 0, Options{Static: "a"})
	err := wait("the returned member to own what it had", []*Member{again, b}, func() bool { return maps.Equal(again.owns(), had) })
	if err != nil {
		return "", nil, err
	}
	time.Sleep(500 * time.Millisecond)
	if b.changes != changes {
		return "", nil, fmt.Errorf("the other member was rebalanced: it owned %v partitions in turn", b.history)
	}
	return "", nil, errors.Join(again.Close(), b.Close())
}
