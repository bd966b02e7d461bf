// SPDX-License-Identifier: Apache-2.0

package publish

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/notation-pkcs11/notation-pkcs11/action/registry"
)

// pace are the times that an [indexWriter] goes by. What they guarantee, and why
// it can't be more, is in docs/guarantees.md.
type pace struct {
	stall  time.Duration // an index that was read longer ago is read again before it is written over
	window time.Duration // the least time between the last write and the last look
	cap    time.Duration // the most that it grows to on a slow registry, or among other writers
	limit  time.Duration // how long is tried to get an entry listed
}

var defaultPace = pace{
	stall:  100 * time.Millisecond,
	window: 250 * time.Millisecond,
	cap:    8 * time.Second,
	limit:  time.Minute,
}

const (
	// slower is how many times slower than we are another writer may read and
	// write the index without being missed.
	slower = 8
	// amongOthers is how many times longer is waited where others were seen at
	// work.
	amongOthers = 4
	// patience is for how many windows an index that others keep changing is
	// watched.
	patience = 2
)

// indexWriter adds entries to a referrers index that others write too. Registries
// have no lock and, nearly all of them, no compare-and-swap: a writer that writes the
// index drops what others added since it read the index. So an entry that is written is not an
// entry that stays, and the writer looks again: settle returns when no other
// writer can hold an index that is older than the entries.
//
// Several goroutines may add at once; one of them writes for all that wait.
type indexWriter struct {
	tag  indexTag
	pace pace
	turn chan struct{} // held by the goroutine that reads and writes the index

	mu     sync.Mutex
	wanted []ocispec.Descriptor // what must be listed

	// Of the goroutine that has the turn:
	listed         map[digest.Digest]bool // of wanted: was seen in the index, or was written
	current        digest.Digest          // of the index as it was last read or written
	known          bool                   // current is set
	unchangedSince time.Time              // from when on the index has been current
	presentSince   time.Time              // from when on no look found an entry of ours missing
	contended      bool                   // others were seen at work
	slowest        time.Duration          // that a read and a write took together
}

func newIndexWriter(tag indexTag, pace pace) *indexWriter {
	return &indexWriter{tag: tag, pace: pace, turn: make(chan struct{}, 1), listed: map[digest.Digest]bool{}}
}

// add puts an entry into the index. It may get lost again until settle returns.
// After an error the entry is given up.
func (w *indexWriter) add(ctx context.Context, entry ocispec.Descriptor) (err error) {
	w.enqueue(entry)
	defer func() {
		if err != nil {
			w.giveUp(entry)
		}
	}()
	if err := w.take(ctx); err != nil {
		return err
	}
	defer w.release()
	if w.listed[entry.Digest] {
		return nil // another goroutine wrote it in the meantime
	}
	return w.update(ctx)
}

// settle has the last look at the index, or as many as it takes, and puts back
// what is missing. When the context ends, it looks once more and does not wait,
// so the context should not end but with the run. A registry that hangs is left
// after a time of settle's own.
// With an error it returns the entries that are not in the index, as far as it
// could see.
func (w *indexWriter) settle(ctx context.Context) (missing []ocispec.Descriptor, _ error) {
	requests, cancel := finishing(ctx)
	defer cancel()
	// A minute in which others drop it, one to put it back, and the longest watch.
	requests, stop := context.WithTimeout(requests, 2*w.pace.limit+patience*w.pace.cap)
	defer stop()
	if err := w.take(requests); err != nil {
		return w.want(), err
	}
	defer w.release()
	if len(w.want()) == 0 {
		return nil, nil // all that was to be listed was given up
	}
	for start := time.Now(); ; {
		sleep(ctx, w.untilLook())
		asked := time.Now()
		version, err := w.read(requests)
		if err == nil {
			missing = version.index.lacks(w.want())
		} else {
			missing = w.want()
		}
		switch {
		case len(missing) == 0 && (w.settled(asked) || ctx.Err() != nil):
			return nil, nil
		case len(missing) == 0:
			continue
		case time.Since(start) > w.pace.limit:
			if err == nil {
				err = errors.New("other clients keep removing it from the referrers index")
			}
			return missing, err
		}
		w.presentSince = time.Now()
		sleep(ctx, w.pause(0))
		if err := w.update(requests); err != nil {
			return missing, err
		}
	}
}

// update writes what is missing. It reads the index again for each try, because
// that is what shows whether a write without an answer was one.
func (w *indexWriter) update(ctx context.Context) error {
	for start, try := time.Now(), 0; ; try++ {
		err := w.try(ctx)
		if err == nil {
			return nil
		}
		wait, worthwhile := w.again(try, err)
		if !worthwhile || time.Since(start)+wait > w.pace.limit {
			return err
		}
		if sleep(ctx, wait) != nil {
			return err
		}
	}
}

// try reads the index and, if something is missing, writes it, once.
func (w *indexWriter) try(ctx context.Context) error {
	asked := time.Now()
	version, err := w.read(ctx)
	if err != nil {
		return err
	}
	answered := time.Now()
	wanted := w.want()
	if missing := version.index.lacks(wanted); len(missing) > 0 {
		next, err := version.index.with(missing)
		if err != nil {
			return err
		}
		if time.Since(answered) > w.pace.stall { // this process was stopped, or is starved
			if version, err = w.readAgain(ctx, version); err != nil {
				return err
			}
		}
		if err := w.tag.write(ctx, next, version); err != nil {
			if errors.Is(err, registry.ErrChanged) {
				w.contended = true
			}
			return err
		}
		w.current, w.unchangedSince, w.presentSince = digest.FromBytes(next), time.Now(), time.Now()
		w.slowest = max(w.slowest, time.Since(asked))
	}
	for _, entry := range wanted {
		w.listed[entry.Digest] = true
	}
	return nil
}

// readAgain reads an index that was read before, and returns an error if it has changed.
// On a busy machine, to add to an index can take longer than an index is good for.
func (w *indexWriter) readAgain(ctx context.Context, before indexVersion) (indexVersion, error) {
	version, err := w.read(ctx)
	if err == nil && version.digest != before.digest {
		err = registry.ErrChanged
	}
	return version, err
}

// read reads the index and notes what others did to it.
func (w *indexWriter) read(ctx context.Context) (indexVersion, error) {
	version, err := w.tag.read(ctx)
	if err != nil {
		return indexVersion{}, err
	}
	if !w.known || version.digest != w.current {
		w.contended = w.contended || w.known
		w.current, w.unchangedSince = version.digest, time.Now()
	}
	if !w.known {
		w.known, w.presentSince = true, w.unchangedSince
	}
	return version, nil
}

// window is how long another writer may take from reading the index to having
// written it without dropping our entries for good.
func (w *indexWriter) window() time.Duration {
	window := max(w.pace.window, slower*w.slowest)
	if w.contended {
		window *= amongOthers
	}
	return min(window, w.pace.cap)
}

// settled reports, after a look that was asked for at a time and found our entries,
// whether no writer can hold an index that lacks them: it did not change for a
// window, so a writer that read an older one has written it by now. An index that
// others change all the time must do with that our entries were there at each of
// many looks.
func (w *indexWriter) settled(asked time.Time) bool {
	return asked.Sub(w.unchangedSince) >= w.window() || asked.Sub(w.presentSince) >= patience*w.window()
}

// untilLook is how long to wait before the next look at the index.
func (w *indexWriter) untilLook() time.Duration {
	window := w.window()
	left := window - time.Since(w.unchangedSince)
	if !w.contended {
		return left
	}
	return min(left, window/8+rand.N(window/4))
}

// again says whether to try again after an error, and when. Writers that got into
// each other's way must not do so again, so the pause is random.
func (w *indexWriter) again(try int, err error) (_ time.Duration, worthwhile bool) {
	var busy *registry.BusyError
	var network net.Error
	switch {
	case errors.As(err, &busy):
		return max(busy.After, w.pause(try+4)), true
	case errors.Is(err, registry.ErrChanged), errors.As(err, &network):
		return w.pause(try), true
	}
	return 0, false
}

// pause is a random time, longer with each try, in which others can finish.
func (w *indexWriter) pause(try int) time.Duration {
	most := max(2*w.slowest, 20*time.Millisecond) << min(try, 10)
	return rand.N(min(most, 3*time.Second))
}

// enqueue makes the next update add an entry.
func (w *indexWriter) enqueue(entry ocispec.Descriptor) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.wanted = append(w.wanted, entry)
}

func (w *indexWriter) giveUp(entry ocispec.Descriptor) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.wanted = slices.DeleteFunc(slices.Clone(w.wanted), func(other ocispec.Descriptor) bool {
		return other.Digest == entry.Digest
	})
}

// want returns what must be listed. What it returned before does not change.
func (w *indexWriter) want() []ocispec.Descriptor {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.wanted[:len(w.wanted):len(w.wanted)]
}

func (w *indexWriter) take(ctx context.Context) error {
	select {
	case w.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (w *indexWriter) release() { <-w.turn }

// sleep waits, or returns the context's error when that ends.
func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
