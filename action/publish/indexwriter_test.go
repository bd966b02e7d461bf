// SPDX-License-Identifier: Apache-2.0

package publish

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/notation-pkcs11/notation-pkcs11/action/registry"
	"github.com/notation-pkcs11/notation-pkcs11/testenv"
)

// register is a referrers tag as registries have it: what is written last is
// there. Time in it is that of the bubble that a test runs in, so hours of
// contention take no time, and a slow network is a number.
type register struct {
	mu      sync.Mutex
	content []byte
	etags   bool // it honours conditional requests
	reads   int
	writes  int
}

func (r *register) load() []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reads++
	return r.content
}

func (r *register) swap(content []byte, over indexVersion) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.etags && over.digest != versionOf(r.content).digest {
		return registry.ErrChanged
	}
	r.content = content
	r.writes++
	return nil
}

// entries are the digests that the index lists.
func (r *register) entries(t *testing.T) []digest.Digest {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	var index ocispec.Index
	if err := json.Unmarshal(r.content, &index); err != nil {
		t.Fatal(err)
	}
	var listed []digest.Digest
	for _, entry := range index.Manifests {
		listed = append(listed, entry.Digest)
	}
	return listed
}

func versionOf(content []byte) indexVersion {
	if content == nil {
		return indexVersion{}
	}
	version := indexVersion{digest: digest.FromBytes(content)}
	if err := json.Unmarshal(content, &version.index); err != nil {
		panic(err)
	}
	return version
}

// line is a register as one writer sees it, over a network.
type line struct {
	*register
	latency func() time.Duration // of one way
}

func (l line) read(context.Context) (indexVersion, error) {
	time.Sleep(l.latency())
	content := l.load()
	time.Sleep(l.latency())
	return versionOf(content), nil
}

func (l line) write(_ context.Context, content []byte, over indexVersion) error {
	time.Sleep(l.latency())
	err := l.swap(content, over)
	time.Sleep(l.latency())
	return err
}

func steady(d time.Duration) func() time.Duration { return func() time.Duration { return d } }

func upTo(d time.Duration) func() time.Duration {
	return func() time.Duration { return rand.N(d) }
}

func entry(name string, args ...any) ocispec.Descriptor {
	return ocispec.Descriptor{
		MediaType:    ocispec.MediaTypeImageManifest,
		Digest:       digest.FromString(fmt.Sprintf(name, args...)),
		Size:         100,
		ArtifactType: registry.ArtifactTypeSignature,
	}
}

// careless reads the index, thinks for a while, writes it, and never looks back,
// as notation and others do.
func careless(t *testing.T, l line, thinks time.Duration, what ocispec.Descriptor) {
	version, err := l.read(t.Context())
	if err != nil {
		t.Error(err)
	}
	next, err := version.index.with([]ocispec.Descriptor{what})
	if err != nil {
		t.Error(err)
	}
	time.Sleep(thinks)
	if err := l.write(t.Context(), next, indexVersion{}); err != nil {
		t.Error(err)
	}
}

// finish settles a writer.
func finish(t *testing.T, w *indexWriter) {
	if missing, err := w.settle(t.Context()); err != nil {
		t.Errorf("settle: %d missing: %v", len(missing), err)
	}
}

func wantListed(t *testing.T, r *register, wanted []ocispec.Descriptor) {
	t.Helper()
	listed := r.entries(t)
	lost := 0
	for _, entry := range wanted {
		if !slices.Contains(listed, entry.Digest) {
			lost++
		}
	}
	if lost > 0 {
		t.Errorf("%d of %d entries are lost", lost, len(wanted))
	}
	if sorted := slices.Sorted(slices.Values(listed)); len(slices.Compact(sorted)) != len(listed) {
		t.Error("an entry is there twice")
	}
}

// A process that is starved takes longer to make the next index than the last one is
// good for, each time. It gets its entry listed all the same, and drops no other.
func TestStarvedWriterReadsAgainBeforeItWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := &register{}
		starved := defaultPace
		starved.stall = -1 // less than it takes to do nothing
		meanwhile := func() time.Duration {
			if shared.reads == 1 && shared.writes == 0 { // the first answer is on its way
				shared.content = mustIndex(t, entry("another's"))
			}
			return time.Millisecond
		}
		w := newIndexWriter(line{shared, meanwhile}, starved)
		mine := entry("mine")
		if err := w.add(t.Context(), mine); err != nil {
			t.Fatal(err)
		}
		finish(t, w)
		wantListed(t, shared, []ocispec.Descriptor{entry("another's"), mine})
		if shared.writes != 1 || shared.reads < 4 {
			t.Errorf("%d reads, %d writes", shared.reads, shared.writes)
		}
	})
}

func mustIndex(t *testing.T, entries ...ocispec.Descriptor) []byte {
	t.Helper()
	var index referrersIndex
	content, err := index.with(entries)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// Writers start and end at any time, on networks of any speed, and with pauses
// between their pushes.
func TestWritersAtOnceLoseNothing(t *testing.T) {
	testenv.Long(t, "lets writers race a hundred times")
	for round := range 100 {
		synctest.Test(t, func(t *testing.T) {
			shared := &register{}
			var wanted []ocispec.Descriptor
			var writers sync.WaitGroup
			for w := range 2 + rand.IntN(8) {
				var mine []ocispec.Descriptor
				for i := range 1 + rand.IntN(8) {
					mine = append(mine, entry("%d.%d.%d", round, w, i))
				}
				wanted = append(wanted, mine...)
				network := line{shared, upTo(1 + rand.N(60*time.Millisecond))}
				start, between := rand.N(time.Second), rand.N(300*time.Millisecond)
				writers.Go(func() {
					time.Sleep(start)
					writer := newIndexWriter(network, defaultPace)
					for _, entry := range mine {
						if err := writer.add(t.Context(), entry); err != nil {
							t.Error(err)
						}
						time.Sleep(rand.N(between + 1))
					}
					finish(t, writer)
				})
			}
			writers.Wait()
			wantListed(t, shared, wanted)
		})
		if t.Failed() {
			return
		}
	}
}

func TestCarelessWritersDropNothingOfOurs(t *testing.T) {
	for round := range 100 {
		synctest.Test(t, func(t *testing.T) {
			shared := &register{}
			var writers sync.WaitGroup
			for w := range 4 {
				writers.Go(func() {
					for i := range 10 {
						time.Sleep(rand.N(200 * time.Millisecond))
						careless(t, line{shared, upTo(20 * time.Millisecond)}, rand.N(150*time.Millisecond), entry("careless %d.%d.%d", round, w, i))
					}
				})
			}
			time.Sleep(rand.N(time.Second))
			ours := []ocispec.Descriptor{entry("%d a", round), entry("%d b", round)}
			writer := newIndexWriter(line{shared, upTo(20 * time.Millisecond)}, defaultPace)
			for _, entry := range ours {
				if err := writer.add(t.Context(), entry); err != nil {
					t.Error(err)
				}
			}
			finish(t, writer)
			writers.Wait()
			wantListed(t, shared, ours)
		})
		if t.Failed() {
			return
		}
	}
}

// The slow writer reads the index before ours is written, and writes it long after
// ours was there. Nothing shows before it does.
func TestSlowWriterIsWaitedFor(t *testing.T) {
	for _, c := range []struct {
		name    string
		latency time.Duration // ours, one way
		thinks  time.Duration // the other
	}{
		{"on loopback", 100 * time.Microsecond, 240 * time.Millisecond},
		{"over a network, eight times as slow as we are", 25 * time.Millisecond, 700 * time.Millisecond},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				shared := &register{}
				network := line{shared, steady(c.latency)}
				ours, theirs := entry("ours"), entry("theirs")
				var slow sync.WaitGroup
				slow.Go(func() { careless(t, network, c.thinks, theirs) })
				time.Sleep(c.latency) // so that we read what it reads
				writer := newIndexWriter(network, defaultPace)
				if err := writer.add(t.Context(), ours); err != nil {
					t.Fatal(err)
				}
				wantListed(t, shared, []ocispec.Descriptor{ours})
				finish(t, writer)
				slow.Wait()
				wantListed(t, shared, []ocispec.Descriptor{ours, theirs})
			})
		})
	}
}

// Where others were seen at work, slower ones are waited for.
func TestSlowWriterAmongOthersIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := &register{}
		network := line{shared, steady(time.Millisecond)}
		var others sync.WaitGroup
		others.Go(func() { careless(t, network, 950*time.Millisecond, entry("slow")) })
		time.Sleep(2 * time.Millisecond)
		writer := newIndexWriter(network, defaultPace)
		ours := []ocispec.Descriptor{entry("a"), entry("b")}
		for _, entry := range ours {
			if err := writer.add(t.Context(), entry); err != nil {
				t.Fatal(err)
			}
			careless(t, network, 0, entry)
		}
		finish(t, writer)
		others.Wait()
		wantListed(t, shared, append(ours, entry("slow")))
	})
}

func TestAloneTheLastLookIsOneRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := &register{}
		writer := newIndexWriter(line{shared, steady(time.Millisecond)}, defaultPace)
		if err := writer.add(t.Context(), entry("ours")); err != nil {
			t.Fatal(err)
		}
		if shared.reads != 1 || shared.writes != 1 {
			t.Errorf("%d reads and %d writes to add an entry", shared.reads, shared.writes)
		}
		start := time.Now()
		finish(t, writer)
		if shared.reads != 2 || shared.writes != 1 {
			t.Errorf("%d reads and %d writes after the last look", shared.reads, shared.writes)
		}
		if took := time.Since(start); took > defaultPace.window+5*time.Millisecond {
			t.Errorf("the last look took %v", took)
		}
	})
}

func TestAloneTheLastLookOfALongRunWaitsForNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		writer := newIndexWriter(line{&register{}, steady(time.Millisecond)}, defaultPace)
		if err := writer.add(t.Context(), entry("ours")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		start := time.Now()
		finish(t, writer)
		if took := time.Since(start); took > 2*time.Millisecond {
			t.Errorf("the last look took %v", took)
		}
	})
}

func TestOneWritesForAllThatWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := &register{}
		writer := newIndexWriter(line{shared, steady(10 * time.Millisecond)}, defaultPace)
		var wanted []ocispec.Descriptor
		var adding sync.WaitGroup
		for i := range 25 {
			entry := entry("%d", i)
			wanted = append(wanted, entry)
			adding.Go(func() {
				if err := writer.add(t.Context(), entry); err != nil {
					t.Error(err)
				}
			})
		}
		adding.Wait()
		wantListed(t, shared, wanted)
		if shared.writes > 2 {
			t.Errorf("%d writes", shared.writes)
		}
	})
}

// An index that always changes must not hold us for ever.
func TestBusyIndexIsLeftWhenOursIsSafe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := &register{}
		network := line{shared, steady(time.Millisecond)}
		ctx, stop := context.WithCancel(t.Context())
		var others sync.WaitGroup
		others.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				careless(t, network, 0, entry("other %d", i))
				time.Sleep(100 * time.Millisecond)
			}
		})
		writer := newIndexWriter(network, defaultPace)
		time.Sleep(time.Second)
		if err := writer.add(t.Context(), entry("ours")); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		finish(t, writer)
		if took := time.Since(start); took > 3*amongOthers*defaultPace.window {
			t.Errorf("the last look took %v", took)
		}
		stop()
		others.Wait()
		wantListed(t, shared, []ocispec.Descriptor{entry("ours")})
	})
}

// Somebody who always puts an index of his own there can't be beaten, but it must
// be said.
func TestLostEntriesAreReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := &register{}
		network := line{shared, steady(time.Millisecond)}
		ctx, stop := context.WithCancel(t.Context())
		var vandal sync.WaitGroup
		vandal.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				content, err := (&referrersIndex{}).with([]ocispec.Descriptor{entry("vandal %d", i)})
				if err != nil {
					t.Error(err)
				}
				shared.swap(content, indexVersion{})
				time.Sleep(50 * time.Millisecond)
			}
		})
		writer := newIndexWriter(network, defaultPace)
		kept := entry("ours")
		if err := writer.add(t.Context(), kept); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		missing, err := writer.settle(t.Context())
		if err == nil || len(missing) != 1 || missing[0].Digest != kept.Digest {
			t.Errorf("settle: missing %v, error %v", missing, err)
		}
		if took := time.Since(start); took > 2*defaultPace.limit {
			t.Errorf("it took %v", took)
		}
		stop()
		vandal.Wait()
	})
}

func TestCancelledRunPutsBackWhatIsMissing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := &register{}
		network := line{shared, steady(time.Millisecond)}
		writer := newIndexWriter(network, defaultPace)
		if err := writer.add(t.Context(), entry("ours")); err != nil {
			t.Fatal(err)
		}
		shared.content = nil
		careless(t, network, 0, entry("theirs"))
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		start := time.Now()
		if missing, err := writer.settle(ctx); err != nil {
			t.Errorf("settle: %d missing: %v", len(missing), err)
		}
		if took := time.Since(start); took > Grace {
			t.Errorf("it took %v", took)
		}
		wantListed(t, shared, []ocispec.Descriptor{entry("ours"), entry("theirs")})
	})
}

// With conditional requests even those who never look back lose nothing to us.
func TestConditionalWritesDropNothingOfOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := &register{etags: true}
		var wanted []ocispec.Descriptor
		var writers sync.WaitGroup
		for w := range 8 {
			var mine []ocispec.Descriptor
			for i := range 10 {
				mine = append(mine, entry("%d.%d", w, i))
			}
			wanted = append(wanted, mine...)
			writers.Go(func() {
				writer := newIndexWriter(line{shared, upTo(20 * time.Millisecond)}, defaultPace)
				for _, entry := range mine { // and no settle
					if err := writer.add(t.Context(), entry); err != nil {
						t.Error(err)
					}
				}
			})
		}
		writers.Wait()
		wantListed(t, shared, wanted)
	})
}

// silent is a registry that does not answer.
type silent struct{}

func (silent) read(ctx context.Context) (indexVersion, error) {
	<-ctx.Done()
	return indexVersion{}, ctx.Err()
}

func (silent) write(ctx context.Context, _ []byte, _ indexVersion) error {
	<-ctx.Done()
	return ctx.Err()
}

func TestLastLookAtASilentRegistryEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		writer := newIndexWriter(silent{}, defaultPace)
		writer.enqueue(entry("ours"))
		start := time.Now()
		if missing, err := writer.settle(t.Context()); err == nil || len(missing) != 1 {
			t.Errorf("settle: missing %v, error %v", missing, err)
		}
		if took := time.Since(start); took > 3*time.Minute {
			t.Errorf("it took %v", took)
		}
	})
}

// Who has given up has nothing to look for, and a registry that hangs is not waited
// for.
func TestGivenUpIsNotLookedAt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &register{}
		w := newIndexWriter(line{r, steady(time.Hour)}, defaultPace)
		w.enqueue(entry("given up"))
		w.giveUp(entry("given up"))
		finish(t, w)
		if r.reads != 0 {
			t.Errorf("it looked %d times", r.reads)
		}
	})
}
