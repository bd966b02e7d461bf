// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"time"

	"github.com/notation-pkcs11/notation-pkcs11/plugin/agent"
)

// limits bound how long an agent serves. Zero: no bound.
type limits struct{ lifetime, idle time.Duration }

func (o agentOrder) limits() limits { return limits{o.lifetime, o.idle} }

// look is how often the clock is looked at: after a suspend timers of the system
// that don't count it come late.
const look = time.Second

// watch calls expired once when one of the times is over, if ctx doesn't end before.
func (l limits) watch(ctx context.Context, s *agent.Server, expired func(reason string)) {
	if l.lifetime == 0 && l.idle == 0 {
		return
	}
	start := sinceBoot()
	quiet, seen := start, int64(-1)
	tick := time.NewTicker(look)
	defer tick.Stop()
	for {
		now := sinceBoot()
		if uses, busy := s.Uses(); busy || uses != seen {
			quiet, seen = now, uses
		}
		switch {
		case l.lifetime > 0 && now-start >= l.lifetime:
			expired(fmt.Sprintf("the agent's lifetime of %v is over", l.lifetime))
			return
		case l.idle > 0 && now-quiet >= l.idle:
			expired(fmt.Sprintf("the agent was idle for %v", l.idle))
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}
