//go:build !old

package main

import (
	"runtime/debug"
	"time"

	"github.com/IBM/sarama"

	"strandline/scenarios"
)

var available = []string{"none", "gzip", "snappy", "lz4", "zstd"}

var lacks = map[string]string{"kip848": "Sarama has classic groups only"}

func version() string {
	info, _ := debug.ReadBuildInfo()
	for _, module := range info.Deps {
		if module.Path == "github.com/IBM/sarama" {
			return module.Version[1:]
		}
	}
	return "?"
}

func tune(config *sarama.Config) {
	config.Version = sarama.MaxVersion
	config.Consumer.IsolationLevel = sarama.ReadCommitted
	config.Consumer.Offsets.AutoCommit.Interval = 200 * time.Millisecond
}

func optional(config *sarama.Config, options scenarios.Options) {
	config.Consumer.Group.InstanceId = options.Static
	if options.Cooperative {
		config.Consumer.Group.Rebalance.GroupStrategies = []sarama.BalanceStrategy{sarama.NewBalanceStrategyCooperativeSticky()}
	}
}

func (a admin) Alter(topic string, config map[string]string) error {
	changes := map[string]sarama.IncrementalAlterConfigsEntry{}
	for name, value := range pointers(config) {
		changes[name] = sarama.IncrementalAlterConfigsEntry{Operation: sarama.IncrementalAlterConfigsOperationSet, Value: value}
	}
	return a.IncrementalAlterConfig(sarama.TopicResource, topic, changes, false)
}

func (a admin) DeleteGroup(group string) error { return a.DeleteConsumerGroup(group) }
