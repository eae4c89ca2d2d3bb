// The driver of Sarama, the newest and, built with `-tags old -modfile old.mod`, the 1.22 that is still met in old programs.
package main

import (
	"context"
	"errors"
	"time"

	"github.com/IBM/sarama"

	"strandline/scenarios"
)

var codecs = map[string]sarama.CompressionCodec{
	"none": sarama.CompressionNone, "gzip": sarama.CompressionGZIP, "snappy": sarama.CompressionSnappy,
	"lz4": sarama.CompressionLZ4, "zstd": sarama.CompressionZSTD,
}

type client struct{ bootstrap []string }

func main() {
	scenarios.Main(func(bootstrap string) (scenarios.Client, error) { return client{[]string{bootstrap}}, nil })
}

func (client) Name() string    { return "sarama" }
func (client) Version() string { return version() }

func (client) Codecs() []string { return available }

func (client) Lacks() map[string]string { return lacks }

func settings() *sarama.Config {
	config := sarama.NewConfig()
	config.Producer.Return.Successes = true
	config.Producer.RequiredAcks = sarama.WaitForAll
	config.Producer.Flush.Frequency = 20 * time.Millisecond
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	config.Consumer.MaxWaitTime = 100 * time.Millisecond
	config.Consumer.Group.Session.Timeout = 6 * time.Second
	config.Consumer.Group.Heartbeat.Interval = 300 * time.Millisecond
	tune(config)
	return config
}

// --- producing ---

type producer struct{ sarama.SyncProducer }

func (c client) Producer(codec string, idempotent bool) (scenarios.Producer, error) {
	config := settings()
	config.Producer.Compression = codecs[codec]
	if idempotent {
		config.Producer.Idempotent = true
		config.Net.MaxOpenRequests = 1
	}
	made, err := sarama.NewSyncProducer(c.bootstrap, config)
	return producer{made}, err
}

func (p producer) SendAll(topic string, keys, values []string) error {
	var messages []*sarama.ProducerMessage
	for n := range keys {
		messages = append(messages, &sarama.ProducerMessage{
			Topic: topic, Key: sarama.StringEncoder(keys[n]), Value: sarama.StringEncoder(values[n]),
		})
	}
	return p.SendMessages(messages)
}

func (p producer) Close() { _ = p.SyncProducer.Close() }

// --- consuming ---

func (c client) Consume(ctx context.Context, group string, topics []string, options scenarios.Options, member *scenarios.Member) error {
	config := settings()
	optional(config, options)
	consumer, err := sarama.NewConsumerGroup(c.bootstrap, group, config)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for ctx.Err() == nil && !member.Full() {
		if err = consumer.Consume(ctx, topics, handler{member, cancel}); err != nil && ctx.Err() == nil {
			break
		}
		err = nil
	}
	return errors.Join(err, consumer.Close())
}

type handler struct {
	member *scenarios.Member
	full   context.CancelFunc
}

func (handler) Setup(sarama.ConsumerGroupSession) error   { return nil }
func (handler) Cleanup(sarama.ConsumerGroupSession) error { return nil }

// ConsumeClaim marks what the member took; the session commits what is marked when it ends.
func (h handler) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	place := scenarios.Place{Topic: claim.Topic(), Partition: claim.Partition()}
	h.member.Gain(place)
	defer h.member.Lose(place)
	for message := range claim.Messages() {
		if !h.member.Take(scenarios.Record{
			Topic: message.Topic, Partition: message.Partition, Offset: message.Offset, Key: message.Key, Value: message.Value,
		}) {
			break
		}
		session.MarkMessage(message, "")
		if h.member.Full() {
			h.full()
			break
		}
	}
	return nil
}

// --- administration ---

type admin struct{ sarama.ClusterAdmin }

func (c client) Admin() (scenarios.Admin, error) {
	made, err := sarama.NewClusterAdmin(c.bootstrap, settings())
	return admin{made}, err
}

func pointers(config map[string]string) map[string]*string {
	values := map[string]*string{}
	for name, value := range config {
		values[name] = &value
	}
	return values
}

func (a admin) Create(topic string, partitions int32, config map[string]string) error {
	detail := sarama.TopicDetail{NumPartitions: partitions, ReplicationFactor: 1, ConfigEntries: pointers(config)}
	return a.CreateTopic(topic, &detail, false)
}

func (a admin) Partitions(topic string) (int, error) {
	found, err := a.ListTopics()
	return int(found[topic].NumPartitions), err
}

func (a admin) Configs(topic string) (map[string]string, error) {
	found, err := a.DescribeConfig(sarama.ConfigResource{Type: sarama.TopicResource, Name: topic})
	values := map[string]string{}
	for _, entry := range found {
		values[entry.Name] = entry.Value
	}
	return values, err
}

func (a admin) AddPartitions(topic string, total int32) error {
	return a.CreatePartitions(topic, total, nil, false)
}

func (a admin) Delete(topic string) error { return a.DeleteTopic(topic) }

func (a admin) Groups() (names []string, err error) {
	found, err := a.ListConsumerGroups()
	for name := range found {
		names = append(names, name)
	}
	return names, err
}

func (a admin) Describe(group string) (string, int, error) {
	found, err := a.DescribeConsumerGroups([]string{group})
	if err != nil {
		return "", 0, err
	}
	return found[0].State, len(found[0].Members), nil
}
