// SPDX-License-Identifier: Apache-2.0

package host

import (
	"context"
	"fmt"
	"slices"
	"sync"
)

// turns lets no more signatures be asked for than there are sessions for, in the order in
// which they come.
type turns struct {
	limit int // of how many the child may allow, whatever it says

	mu      sync.Mutex
	allowed int // by the child; 0: as one
	taken   int
	waiting []chan struct{}
}

// take waits for a turn until ctx ends.
func (t *turns) take(ctx context.Context) error {
	t.mu.Lock()
	if len(t.waiting) == 0 && t.taken < max(t.allowed, 1) {
		t.taken++
		t.mu.Unlock()
		return nil
	}
	turn := make(chan struct{})
	t.waiting = append(t.waiting, turn)
	t.mu.Unlock()
	select {
	case <-turn:
		return nil
	case <-ctx.Done():
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if i := slices.Index(t.waiting, turn); i >= 0 {
		t.waiting = slices.Delete(t.waiting, i, i+1)
	} else { // it came at the same time
		t.taken--
		t.pass()
	}
	return fmt.Errorf("the signature waited for %d others: %w", t.taken, ctx.Err())
}

// giveBack ends a turn.
func (t *turns) giveBack() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.taken--
	t.pass()
}

// allow sets how many turns there are at once.
func (t *turns) allow(atOnce int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.allowed = min(atOnce, t.limit)
	t.pass()
}

// pass gives turns to those that wait. t.mu is held.
func (t *turns) pass() {
	for len(t.waiting) > 0 && t.taken < max(t.allowed, 1) {
		close(t.waiting[0])
		t.waiting = t.waiting[1:]
		t.taken++
	}
}
