// SPDX-License-Identifier: Apache-2.0

//go:build linux

package pkcs11_test

import (
	"bytes"
	"context"
	"crypto/subtle"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/notation-pkcs11/notation-pkcs11/pkcs11"
)

// The PIN's own bytes go to the module: once they are wiped, this process has it
// nowhere in its memory.
func TestLoginLeavesNoCopyOfThePIN(t *testing.T) {
	q := newQuirky(t, "C_Login rv 0x30") // CKR_DEVICE_ERROR; the token behind doesn't get it, and so has no copies
	inverted := make([]byte, 200)
	for i := range inverted {
		inverted[i] = byte(rand.Uint32())
	}
	plain := func() []byte { return invert(bytes.Clone(inverted)) }
	given := pkcs11.NewPIN(plain())
	ask := func(context.Context, pkcs11.TokenInfo) (pkcs11.PIN, error) { return given, nil }
	if err := q.signWith(t, "EC-256", pkcs11.KeyOptions{PIN: ask}); err == nil {
		t.Fatal("there was no login")
	}
	if n := q.Calls("C_Login"); n != 1 {
		t.Errorf("%d logins", n)
	}
	given.Wipe()
	if n := timesInMemory(t, inverted); n > 0 {
		t.Errorf("the PIN is in memory %d times", n)
	}
	secret := plain()
	if timesInMemory(t, inverted) == 0 {
		t.Error("a copy that is there is not found")
	}
	runtime.KeepAlive(secret)
}

var ones = bytes.Repeat([]byte{0xff}, 2<<20)

// invert is fast with the race detector, too.
func invert(b []byte) []byte {
	subtle.XORBytes(b, b, ones)
	return b
}

// timesInMemory says how often the inverse of something is in what this process
// can write. The middle of it is looked for: malloc writes to what is freed.
func timesInMemory(t *testing.T, inverted []byte) (times int) {
	t.Helper()
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	memory, err := os.Open("/proc/self/mem")
	if err != nil {
		t.Fatal(err)
	}
	defer memory.Close()
	middle := inverted[len(inverted)/4 : len(inverted)*3/4]
	const step = 1 << 20
	buffer := make([]byte, step+len(middle)-1)
	for line := range strings.Lines(string(maps)) {
		var from, to uint64
		var mode string
		if _, err := fmt.Sscanf(line, "%x-%x %s", &from, &to, &mode); err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(mode, "rw") || to-from > 256<<20 { // such is the race detector's own
			continue
		}
		for at := from; at < to; at += step {
			n, _ := memory.ReadAt(buffer[:min(uint64(len(buffer)), to-at)], int64(at)) // some, such as a device's, can't be read
			times += bytes.Count(invert(buffer[:n]), middle)
			clear(buffer)
		}
	}
	return times
}
