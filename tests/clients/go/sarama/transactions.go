//go:build !old

package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/IBM/sarama"

	"strandline/scenarios"
)

type transactional struct {
	client
	sarama.SyncProducer
}

func (c client) Transactional(name string) (scenarios.Transactional, error) {
	config := settings()
	config.Producer.Idempotent = true
	config.Producer.Transaction.ID = name
	config.Net.MaxOpenRequests = 1
	made, err := sarama.NewSyncProducer(c.bootstrap, config)
	return transactional{c, made}, err
}

func (t transactional) Close() { _ = t.SyncProducer.Close() }

func (t transactional) Write(topic, key, value string) error {
	return t.transaction(true, func() error {
		return producer{t.SyncProducer}.SendAll(topic, []string{key}, []string{value})
	})
}

func (t transactional) transaction(commit bool, what func() error) error {
	if err := t.BeginTxn(); err != nil {
		return err
	}
	if err := what(); err != nil {
		return errors.Join(err, t.AbortTxn())
	}
	if commit {
		return t.CommitTxn()
	}
	return t.AbortTxn()
}

// Copy commits for the group as somebody who is no member of it, as Sarama's own examples do.
func (t transactional) Copy(group, from, to string, count int) error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*scenarios.Patience)
	defer cancel()
	config := settings()
	config.Consumer.Offsets.AutoCommit.Enable = false
	consumer, err := sarama.NewConsumerGroup(t.bootstrap, group, config)
	if err != nil {
		return err
	}
	taken, ended := make(chan *sarama.ConsumerMessage, count), make(chan error, 1)
	go func() { ended <- consumer.Consume(ctx, []string{from}, taking{taken}) }()
	err = t.copyAll(ctx, group, to, taken, count)
	cancel()
	return errors.Join(err, <-ended, consumer.Close())
}

func (t transactional) copyAll(ctx context.Context, group, to string, taken <-chan *sarama.ConsumerMessage, count int) error {
	for number := 0; number*10 < count; number++ {
		var part []*sarama.ConsumerMessage
		for len(part) < 10 {
			select {
			case message := <-taken:
				part = append(part, message)
			case <-ctx.Done():
				return fmt.Errorf("%d of %d records came", number*10+len(part), count)
			}
		}
		if number%3 == 0 {
			if err := t.transaction(false, func() error { return t.copy(group, to, part) }); err != nil {
				return fmt.Errorf("abort: %w", err)
			}
		}
		if err := t.transaction(true, func() error { return t.copy(group, to, part) }); err != nil {
			return err
		}
	}
	return nil
}

func (t transactional) copy(group, to string, part []*sarama.ConsumerMessage) error {
	var keys, values []string
	for _, message := range part {
		keys, values = append(keys, string(message.Key)), append(values, string(message.Value))
		if err := t.AddMessageToTxn(message, group, nil); err != nil {
			return err
		}
	}
	return producer{t.SyncProducer}.SendAll(to, keys, values)
}

type taking struct {
	messages chan<- *sarama.ConsumerMessage
}

func (taking) Setup(sarama.ConsumerGroupSession) error   { return nil }
func (taking) Cleanup(sarama.ConsumerGroupSession) error { return nil }

func (t taking) ConsumeClaim(_ sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for message := range claim.Messages() {
		t.messages <- message
	}
	return nil
}
