// The driver of franz-go; with `copy` as its first argument, a program that copies a topic within transactions.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"strandline/scenarios"
)

var codecs = map[string]kgo.CompressionCodec{
	"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
	"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
}

type franz struct{ bootstrap string }

func main() {
	if len(os.Args) > 1 && os.Args[1] == "copy" {
		os.Exit(copyUntilAsked(os.Args[2:]))
	}
	scenarios.Main(func(bootstrap string) (scenarios.Client, error) { return franz{bootstrap}, nil })
}

func (franz) Name() string             { return "franz-go" }
func (franz) Codecs() []string         { return []string{"none", "gzip", "snappy", "lz4", "zstd"} }
func (franz) Lacks() map[string]string { return nil }

func (franz) Version() string {
	info, _ := debug.ReadBuildInfo()
	for _, module := range info.Deps {
		if module.Path == "github.com/twmb/franz-go" {
			return module.Version[1:]
		}
	}
	return "?"
}

func (f franz) client(more ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append([]kgo.Opt{
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.SeedBrokers(f.bootstrap), kgo.FetchMaxWait(100 * time.Millisecond), kgo.MetadataMinAge(100 * time.Millisecond),
	}, more...)...)
}

// --- producing ---

type producer struct{ client *kgo.Client }

func (f franz) Producer(codec string, idempotent bool) (scenarios.Producer, error) {
	options := []kgo.Opt{kgo.ProducerBatchCompression(codecs[codec]), kgo.ProducerLinger(20 * time.Millisecond)}
	if !idempotent {
		options = append(options, kgo.DisableIdempotentWrite())
	}
	client, err := f.client(options...)
	return producer{client}, err
}

func (p producer) SendAll(topic string, keys, values []string) error {
	var records []*kgo.Record
	for n := range keys {
		records = append(records, &kgo.Record{Topic: topic, Key: []byte(keys[n]), Value: []byte(values[n])})
	}
	ctx, cancel := context.WithTimeout(context.Background(), scenarios.Patience)
	defer cancel()
	return p.client.ProduceSync(ctx, records...).FirstErr()
}

func (p producer) Close() { p.client.Close() }

// --- consuming ---

func places(of map[string][]int32) (all []scenarios.Place) {
	for topic, partitions := range of {
		for _, partition := range partitions {
			all = append(all, scenarios.Place{Topic: topic, Partition: partition})
		}
	}
	return all
}

func (f franz) Consume(ctx context.Context, group string, topics []string, options scenarios.Options, member *scenarios.Member) error {
	lost := func(_ context.Context, _ *kgo.Client, parts map[string][]int32) { member.Lose(places(parts)...) }
	config := []kgo.Opt{
		kgo.ConsumerGroup(group), kgo.ConsumeTopics(topics...), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.SessionTimeout(6 * time.Second), kgo.HeartbeatInterval(300 * time.Millisecond), kgo.DisableAutoCommit(),
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, parts map[string][]int32) { member.Gain(places(parts)...) }),
		kgo.OnPartitionsRevoked(lost), kgo.OnPartitionsLost(lost),
	}
	switch {
	case options.KIP848:
		config = append(config, kgo.ServerSideBalancer(), kgo.Balancers(kgo.RangeBalancer()))
	case options.Cooperative:
		config = append(config, kgo.Balancers(kgo.CooperativeStickyBalancer()))
	default:
		config = append(config, kgo.Balancers(kgo.RangeBalancer()))
	}
	if options.Static != "" {
		config = append(config, kgo.InstanceID(options.Static))
	}
	client, err := f.client(config...)
	if err != nil {
		return err
	}
	defer client.Close()
	for ctx.Err() == nil && !member.Full() {
		if err := f.poll(ctx, client, member); err != nil {
			return err
		}
	}
	return nil
}

// poll takes what has come and commits it at once. A commit that a rebalance overtakes is no failure.
func (franz) poll(ctx context.Context, client *kgo.Client, member *scenarios.Member) error {
	fetches := client.PollRecords(ctx, 500)
	for _, failed := range fetches.Errors() {
		if !errors.Is(failed.Err, context.Canceled) {
			return fmt.Errorf("%s [%d]: %w", failed.Topic, failed.Partition, failed.Err)
		}
	}
	var taken []*kgo.Record
	fetches.EachRecord(func(record *kgo.Record) {
		if member.Take(scenarios.Record{
			Topic: record.Topic, Partition: record.Partition, Offset: record.Offset, Key: record.Key, Value: record.Value,
		}) {
			taken = append(taken, record)
		}
	})
	if len(taken) == 0 {
		return nil
	}
	commit, cancel := context.WithTimeout(context.Background(), scenarios.Patience)
	defer cancel()
	err := client.CommitRecords(commit, taken...)
	if err != nil && member.Full() {
		return err
	}
	return nil
}

// --- administration ---

type admin struct{ *kadm.Client }

func (f franz) Admin() (scenarios.Admin, error) {
	client, err := f.client()
	if err != nil {
		return nil, err
	}
	return admin{kadm.NewClient(client)}, nil
}

func background() context.Context { return context.Background() }

func (a admin) Create(topic string, partitions int32, config map[string]string) error {
	values := map[string]*string{}
	for name, value := range config {
		values[name] = &value
	}
	_, err := a.CreateTopic(background(), partitions, 1, values, topic)
	return err
}

func (a admin) Partitions(topic string) (int, error) {
	found, err := a.ListTopics(background())
	if err != nil || !found.Has(topic) {
		return 0, err
	}
	return len(found[topic].Partitions), nil
}

func (a admin) Configs(topic string) (map[string]string, error) {
	found, err := a.DescribeTopicConfigs(background(), topic)
	if err != nil {
		return nil, err
	}
	described, err := found.On(topic, nil)
	values := map[string]string{}
	for _, config := range described.Configs {
		values[config.Key] = config.MaybeValue()
	}
	return values, errors.Join(err, described.Err)
}

func (a admin) Alter(topic string, config map[string]string) error {
	var changes []kadm.AlterConfig
	for name, value := range config {
		changes = append(changes, kadm.AlterConfig{Op: kadm.SetConfig, Name: name, Value: &value})
	}
	done, err := a.AlterTopicConfigs(background(), changes, topic)
	if err != nil {
		return err
	}
	one, err := done.On(topic, nil)
	return errors.Join(err, one.Err)
}

func (a admin) AddPartitions(topic string, total int32) error {
	done, err := a.UpdatePartitions(background(), int(total), topic)
	return errors.Join(err, done.Error())
}

func (a admin) Delete(topic string) error {
	_, err := a.DeleteTopic(background(), topic)
	return err
}

func (a admin) Groups() ([]string, error) {
	found, err := a.ListGroups(background())
	return found.Groups(), err
}

func (a admin) Describe(group string) (string, int, error) {
	found, err := a.DescribeGroups(background(), group)
	if err != nil {
		return "", 0, err
	}
	described := found[group]
	return described.State, len(described.Members), described.Err
}

func (a admin) DeleteGroup(group string) error {
	done, err := a.Client.DeleteGroup(background(), group)
	return errors.Join(err, done.Err)
}
