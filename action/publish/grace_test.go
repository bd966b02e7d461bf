// SPDX-License-Identifier: Apache-2.0

package publish

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// What is finished first must not leave the rest a grace of its own.
func TestLatePushHasWhatIsLeftOfTheGrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		ctx, end := WithGrace(ctx)
		defer end()
		cancel()
		time.Sleep(Grace - time.Second)
		start := time.Now()
		late, done := finishing(ctx)
		defer done()
		<-late.Done()
		if took := time.Since(start); took != time.Second {
			t.Errorf("it had %v", took)
		}
	})
}

// More indexes than are looked at at once, of which none gets an answer.
func TestGraceIsOneForTheRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		ctx, end := WithGrace(ctx)
		defer end()
		p := New(Options{})
		for i := range 100 {
			writer := newIndexWriter(silent{}, defaultPace)
			writer.enqueue(entry("%d", i))
			p.indexes[fmt.Sprint(i)] = &subjectIndex{target: unread(t, "r.example", "app", entry("app")), writers: []*indexWriter{writer}}
		}
		time.AfterFunc(time.Second, cancel)
		start := time.Now()
		if errs := p.Settle(ctx); len(errs) != 100 {
			t.Error("what nobody has seen is said to be listed")
		}
		if took := time.Since(start); took > time.Second+Grace {
			t.Errorf("it took %v", took)
		}
	})
}
