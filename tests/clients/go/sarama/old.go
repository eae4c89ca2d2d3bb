//go:build old

package main

import (
	"runtime/debug"
	"time"

	"github.com/IBM/sarama"

	"strandline/scenarios"
)

// Its zstd goes out in Produce v3, which every broker refuses: KIP-110 wants v7.
var available = []string{"none", "gzip", "snappy", "lz4"}

var lacks = map[string]string{
	"kip848": "Sarama has classic groups only", "static": "1.22 has no static members", "cooperative": "1.22 has eager strategies only",
	"transactions": "1.22 has none",
}

// version is that of github.com/Shopify/sarama, which old.mod puts in the place of the module's later name.
func version() string {
	info, _ := debug.ReadBuildInfo()
	for _, module := range info.Deps {
		if module.Path == "github.com/IBM/sarama" && module.Replace != nil {
			return module.Replace.Version[1:]
		}
	}
	return "?"
}

func tune(config *sarama.Config) {
	config.Version = sarama.V2_1_0_0
	config.Consumer.Offsets.CommitInterval = 200 * time.Millisecond
}

func optional(*sarama.Config, scenarios.Options) {}

func (a admin) Alter(topic string, config map[string]string) error {
	return a.AlterConfig(sarama.TopicResource, topic, pointers(config), false)
}

func (client) Transactional(string) (scenarios.Transactional, error) {
	return nil, scenarios.ErrLacking
}

func (admin) DeleteGroup(string) error { return scenarios.ErrLacking }
