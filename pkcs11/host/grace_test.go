// SPDX-License-Identifier: Apache-2.0

package host

import (
	"testing"
	"time"
)

// A module is closed in what was left of the time for opening it, in a second at
// least, and in five at most.
func TestClosingHasTheRestOfTheTime(t *testing.T) {
	for left, want := range map[time.Duration]time.Duration{
		-time.Minute: time.Second, time.Second / 2: time.Second, time.Hour: 5 * time.Second,
	} {
		before := time.Now()
		ctx, cancel := graceUntil(before.Add(left))
		defer cancel()
		if ends, bounded := ctx.Deadline(); !bounded || ends.Before(before.Add(want)) || ends.After(time.Now().Add(want)) {
			t.Errorf("%v before the deadline, closing ends after %v, want %v", left, ends.Sub(before), want)
		}
	}
	before := time.Now()
	ctx, cancel := graceUntil(time.Time{})
	defer cancel()
	if ends, bounded := ctx.Deadline(); !bounded || ends.Before(before.Add(5*time.Second)) {
		t.Errorf("without a deadline, closing ends after %v", ends.Sub(before))
	}
}
