// SPDX-License-Identifier: Apache-2.0

package host

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
)

// As many have a turn as the child allows, and no more than the configuration does,
// whatever the child says.
func TestTurnsAreAsManyAsAreAllowed(t *testing.T) {
	for name, test := range map[string]struct{ limit, says, want int }{
		"nothing said":    {8, 0, 1},
		"less than none":  {8, -3, 1},
		"some":            {8, 5, 5},
		"more than asked": {8, 1 << 40, 8},
	} {
		t.Run(name, func(t *testing.T) {
			turns := turns{limit: test.limit}
			turns.allow(test.says)
			var now, most atomic.Int64
			full := make(chan struct{})
			var all sync.WaitGroup
			for range 40 {
				all.Go(func() {
					if err := turns.take(t.Context()); err != nil {
						t.Error(err)
						return
					}
					defer turns.giveBack()
					n := now.Add(1)
					defer now.Add(-1)
					for seen := most.Load(); n > seen && !most.CompareAndSwap(seen, n); seen = most.Load() {
					}
					if n == int64(test.want) {
						select {
						case <-full:
						default:
							close(full)
						}
					}
					<-full // so that all who may are there at once
				})
			}
			all.Wait()
			if most.Load() != int64(test.want) {
				t.Errorf("%d had a turn at once, want %d", most.Load(), test.want)
			}
		})
	}
}

// A signature that waits longer than it may takes nothing away from the others.
func TestWhoGoesBeforeItsTurnLeavesItToOthers(t *testing.T) {
	turns := turns{limit: 1}
	if err := turns.take(t.Context()); err != nil {
		t.Fatal(err)
	}
	gone, leave := context.WithCancel(t.Context())
	errs, got := make(chan error), make(chan error)
	go func() { errs <- turns.take(gone) }()
	for waiting := 0; waiting < 1; {
		turns.mu.Lock()
		waiting = len(turns.waiting)
		turns.mu.Unlock()
	}
	go func() { got <- turns.take(t.Context()) }()
	leave()
	if err := <-errs; !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	turns.giveBack()
	if err := <-got; err != nil {
		t.Error(err)
	}
	turns.giveBack()
	if turns.taken != 0 || len(turns.waiting) != 0 {
		t.Errorf("%d turns are taken, %d wait", turns.taken, len(turns.waiting))
	}
}
