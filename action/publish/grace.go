// SPDX-License-Identifier: Apache-2.0

package publish

import (
	"context"
	"time"
)

// Grace is how long a run that is cancelled may go on, to finish what is half
// done. GitHub's runner leaves a cancelled step 7.5 s.
const Grace = 5 * time.Second

// graceKey is of the context that ends when the grace of a run does.
type graceKey struct{}

// WithGrace begins a run: all that it finishes after its context has ended shares
// one grace, which begins at that moment.
func WithGrace(run context.Context) (context.Context, context.CancelFunc) {
	end, cancel := context.WithCancel(context.WithoutCancel(run))
	stop := context.AfterFunc(run, func() { time.AfterFunc(Grace, cancel) })
	return context.WithValue(run, graceKey{}, end), func() { stop(); cancel() }
}

// finishing returns a context that outlives its parent by the grace, but not the
// grace of the run.
func finishing(parent context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(parent))
	release := cancel
	if deadline, ok := parent.Deadline(); ok { // set early, so that no retry begins to wait beyond it
		ctx, release = context.WithDeadline(ctx, deadline.Add(Grace))
	}
	stop := context.AfterFunc(parent, func() { time.AfterFunc(Grace, cancel) })
	leave := func() bool { return true }
	if end, ok := parent.Value(graceKey{}).(context.Context); ok {
		leave = context.AfterFunc(end, cancel)
	}
	return ctx, func() { stop(); leave(); release(); cancel() }
}
