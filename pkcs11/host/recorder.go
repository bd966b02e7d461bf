// SPDX-License-Identifier: Apache-2.0

package host

import (
	"bytes"
	"os"
	"slices"
	"sync"
)

// recorder is a file that both processes have open. In it the child notes which
// functions it is in, so that the parent can tell when the child hangs or has
// died. The parent needs not be woken for that, as it would be by a message.
type recorder struct {
	file *os.File

	mu    sync.Mutex
	taken []bool // by slot; of the child
}

// A slot holds the name of one function, padded with zeros; only zeros when the
// function has returned.
const slotSize = 32

// enter notes a call and returns its slot. That a note can't be written must
// not keep the call from being made.
func (r *recorder) enter(call string) (slot int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if slot = slices.Index(r.taken, false); slot < 0 {
		slot = len(r.taken)
		r.taken = append(r.taken, true)
	}
	r.taken[slot] = true
	r.write(slot, call)
	return slot
}

// leave notes that the call returned.
func (r *recorder) leave(slot int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.taken[slot] = false
	r.write(slot, "")
}

func (r *recorder) write(slot int, call string) {
	var note [slotSize]byte
	copy(note[:], call)
	_, _ = r.file.WriteAt(note[:], int64(slot*slotSize))
}

// calls names the functions that were entered and not left. Other names are the
// module's, which can write into the file.
func (r *recorder) calls() []string {
	const most = 256 // slots; a child has one for each signature that it makes at once
	notes := make([]byte, most*slotSize)
	n, _ := r.file.ReadAt(notes, 0)
	var names []string
	for note := range slices.Chunk(notes[:n], slotSize) {
		name := string(bytes.TrimRight(note, "\x00"))
		if isCall(name) && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}
