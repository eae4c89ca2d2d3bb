package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// copier is a member of a group that writes what it reads in capitals to another topic, within transactions of which it aborts
// one in three. It says on its standard output how far it is: "began", then "committed N" or "aborted", a line each.
type copier struct {
	session *kgo.GroupTransactSession
	to      string
	batch   int
	dice    *rand.Rand
}

// copyUntilAsked ends with 0 when it is asked to (SIGTERM), with 3 when it cannot go on; somebody starts it again then.
func copyUntilAsked(arguments []string) int {
	flags := flag.NewFlagSet("copy", flag.ExitOnError)
	bootstrap := flags.String("bootstrap", "", "host:port of brokers, with commas between them")
	group := flags.String("group", "", "of which it is a member")
	static := flags.String("static", "", "its name as a static member (KIP-345); none makes it a dynamic one")
	from := flags.String("from", "", "the topic that it reads")
	to := flags.String("to", "", "the topic that it writes, with as many partitions")
	id := flags.String("id", "", "its transactional id")
	batch := flags.Int("batch", 40, "records a transaction at most")
	seed := flags.String("seed", "", "of its dice")
	_ = flags.Parse(arguments)
	options := []kgo.Opt{
		kgo.SeedBrokers(strings.Split(*bootstrap, ",")...), kgo.TransactionalID(*id), kgo.TransactionTimeout(15 * time.Second),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumerGroup(*group), kgo.ConsumeTopics(*from),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.SessionTimeout(6 * time.Second), kgo.HeartbeatInterval(300 * time.Millisecond), kgo.FetchMaxWait(100 * time.Millisecond),
		kgo.WithLogger(kgo.BasicLogger(os.Stderr, kgo.LogLevelInfo, func() string { return time.Now().Format("15:04:05.000 ") })),
	}
	if *static != "" {
		options = append(options, kgo.InstanceID(*static))
	}
	session, err := kgo.NewGroupTransactSession(options...)
	if err != nil {
		fmt.Println("over:", err)
		return 3
	}
	defer session.Close()
	hash := fnv.New64a()
	_, _ = hash.Write([]byte(*seed))
	asked, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	c := copier{session, *to, *batch, rand.New(rand.NewPCG(hash.Sum64(), 0))}
	// Otherwise asked for with the first transaction, for which it needs records; and it is given none of those whose offsets are
	// in the transaction in which it was killed, until its new epoch ends that.
	if _, _, err := session.Client().ProducerID(asked); err != nil && asked.Err() == nil {
		fmt.Println("over:", err)
		return 3
	}
	for asked.Err() == nil {
		if err := c.transaction(asked); err != nil {
			fmt.Println("over:", err)
			return 3
		}
	}
	return 0
}

// transaction copies what a poll gives. Asked to end while it polls, it leaves what it was given to others.
func (c *copier) transaction(asked context.Context) error {
	fetches := c.session.PollRecords(asked, c.batch)
	if asked.Err() != nil {
		return nil
	}
	for _, failed := range fetches.Errors() {
		// Told for information: the session joins again by itself.
		var passing *kgo.ErrGroupSession
		if !errors.As(failed.Err, &passing) {
			return failed.Err
		}
	}
	if fetches.NumRecords() == 0 {
		return nil
	}
	if err := c.session.Begin(); err != nil {
		return err
	}
	fmt.Println("began")
	ctx, promise := context.Background(), kgo.AbortingFirstErrPromise(c.session.Client())
	fetches.EachRecord(func(record *kgo.Record) {
		written := &kgo.Record{Topic: c.to, Partition: record.Partition, Key: record.Key, Value: bytes.ToUpper(record.Value)}
		c.session.Produce(ctx, written, promise.Promise())
	})
	// What the session aborts it also forgets, if it was not sent yet.
	if c.dice.IntN(4) != 0 {
		if err := c.session.Client().Flush(ctx); err != nil {
			return err
		}
	}
	wanted := c.dice.IntN(3) != 0
	committed, err := c.session.End(ctx, kgo.TransactionEndTry(wanted && promise.Err() == nil))
	switch {
	case err != nil:
		return err
	case committed:
		fmt.Println("committed", fetches.NumRecords())
	default:
		fmt.Printf("aborted %d, wanted: %t, produced: %v\n", fetches.NumRecords(), !wanted, promise.Err())
	}
	return nil
}
