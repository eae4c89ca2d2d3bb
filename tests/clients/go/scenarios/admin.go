package scenarios

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
)

// steps runs one after the other until one fails, and notes those that the client lacks.
type steps struct {
	lacking []string
	err     error
}

func (s *steps) do(name string, step func() error) {
	if s.err != nil {
		return
	}
	err := step()
	if errors.Is(err, ErrLacking) {
		s.lacking = append(s.lacking, name)
	} else if err != nil {
		s.err = fmt.Errorf("%s: %w", name, err)
	}
}

// until waits for a condition that may err on its way.
func (s *steps) until(what string, condition func() (bool, error)) {
	s.do(what, func() error {
		var last error
		err := wait(what, nil, func() bool {
			var ok bool
			ok, last = condition()
			return ok || errors.Is(last, ErrLacking)
		})
		if errors.Is(last, ErrLacking) {
			return nil
		}
		if err != nil && last != nil {
			return fmt.Errorf("%w: %w", err, last)
		}
		return err
	})
}

func admin(r *run) (string, facts, error) {
	there, err := r.client.Admin()
	if err != nil {
		return "", nil, err
	}
	topic := r.prefix + "-admin"
	var s steps
	count := func(want int) func() (bool, error) {
		return func() (bool, error) {
			got, err := there.Partitions(topic)
			return err == nil && got == want, err
		}
	}
	retention := func(want string) func() (bool, error) {
		return func() (bool, error) {
			found, err := there.Configs(topic)
			return err == nil && found["retention.ms"] == want && found["cleanup.policy"] == "delete", err
		}
	}
	s.do("create", func() error { return there.Create(topic, 2, map[string]string{"retention.ms": "3600000"}) })
	s.until("the topic to be listed with 2 partitions", count(2))
	s.do("configs", func() error { _, err := there.Configs(topic); return err })
	s.until("retention.ms as it was set", retention("3600000"))
	s.do("alter", func() error { return there.Alter(topic, map[string]string{"retention.ms": "7200000"}) })
	s.until("the altered config", retention("7200000"))
	s.do("add_partitions", func() error { return there.AddPartitions(topic, 5) })
	s.until("the topic to have 5 partitions", count(5))
	r.adminGroups(&s, there, topic)
	s.do("delete", func() error { return there.Delete(topic) })
	s.until("the deleted topic to be gone", count(0))
	detail := ""
	if len(s.lacking) > 0 {
		detail = "not in this client: " + strings.Join(s.lacking, ", ")
	}
	return detail, facts{"lacking": s.lacking}, s.err
}

func (r *run) adminGroups(s *steps, there Admin, topic string) {
	group := topic + "-group"
	listed := func(want bool) func() (bool, error) {
		return func() (bool, error) {
			groups, err := there.Groups()
			return err == nil && slices.Contains(groups, group) == want, err
		}
	}
	member := r.join(group, []string{topic}, 0, Options{})
	s.do("a member with partitions", func() error {
		return wait("partitions", []*Member{member}, func() bool { return len(member.owns()) > 0 })
	})
	s.do("groups", func() error { _, err := there.Groups(); return err })
	s.until("the group to be listed", listed(true))
	s.do("describe", func() error { _, _, err := there.Describe(group); return err })
	s.until("the group to be described as stable with one member", func() (bool, error) {
		state, members, err := there.Describe(group)
		return err == nil && state == "Stable" && members == 1, err
	})
	s.do("leaving", member.Close)
	lacking := false
	s.until("the empty group to be deleted", func() (bool, error) {
		err := there.DeleteGroup(group)
		lacking = errors.Is(err, ErrLacking)
		if err != nil && !lacking {
			fmt.Fprintln(os.Stderr, "still:", err)
		}
		return err == nil, err
	})
	if lacking {
		s.lacking = append(s.lacking, "delete_group")
		return
	}
	s.until("the deleted group to be gone from the list", listed(false))
}
