package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"strandline/scenarios"
)

// transactional is the producer that has a name.
type transactional struct {
	franz
	id     string
	client *kgo.Client
}

func (f franz) Transactional(name string) (scenarios.Transactional, error) {
	t := &transactional{franz: f, id: name}
	return t, t.begin()
}

// begin makes it the newest of its name. The epoch is asked for with the first transaction, and must be there before.
func (t *transactional) begin() error {
	client, err := t.franz.client(kgo.TransactionalID(t.id), kgo.ProducerLinger(0))
	if err != nil {
		return err
	}
	t.client = client
	ctx, cancel := context.WithTimeout(context.Background(), scenarios.Patience)
	defer cancel()
	_, _, err = client.ProducerID(ctx)
	return err
}

func (t *transactional) Close() { t.client.Close() }

func (t *transactional) Write(topic, key, value string) error {
	ctx, cancel := context.WithTimeout(context.Background(), scenarios.Patience)
	defer cancel()
	if err := t.client.BeginTransaction(); err != nil {
		return err
	}
	record := &kgo.Record{Topic: topic, Key: []byte(key), Value: []byte(value)}
	if err := t.client.ProduceSync(ctx, record).FirstErr(); err != nil {
		return errors.Join(err, t.client.EndTransaction(ctx, kgo.TryAbort))
	}
	return t.client.EndTransaction(ctx, kgo.TryCommit)
}

// Copy works with a session, which ties a member of a group to a transactional client; an abort sets it back.
func (t *transactional) Copy(group, from, to string, count int) error {
	session, err := kgo.NewGroupTransactSession(
		kgo.SeedBrokers(t.bootstrap), kgo.TransactionalID(t.id), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumerGroup(group), kgo.ConsumeTopics(from), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.SessionTimeout(6*time.Second), kgo.HeartbeatInterval(300*time.Millisecond), kgo.FetchMaxWait(100*time.Millisecond),
	)
	if err != nil {
		return err
	}
	defer session.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 2*scenarios.Patience)
	defer cancel()
	for copied, number := 0, 0; copied < count; number++ {
		fetches := session.PollRecords(ctx, 10)
		if err := fetches.Err(); err != nil {
			return fmt.Errorf("%d of %d records: %w", copied, count, err)
		}
		if err := session.Begin(); err != nil {
			return err
		}
		for _, record := range fetches.Records() {
			session.Produce(ctx, &kgo.Record{Topic: to, Key: record.Key, Value: record.Value}, nil)
		}
		if err := session.Client().Flush(ctx); err != nil {
			return err
		}
		committed, err := session.End(ctx, kgo.TransactionEndTry(number%3 != 0))
		if err != nil {
			return err
		}
		if committed {
			copied += fetches.NumRecords()
		}
	}
	t.client.Close()
	return t.begin()
}
