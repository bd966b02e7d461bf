// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// The end is seen when its own event is lost, too, since there were too many.
func TestKeeperEndsAfterAnOverflow(t *testing.T) {
	tree, vault := t.TempDir(), t.TempDir()
	busy, goOn := make(chan struct{}), make(chan struct{})
	first := sync.OnceFunc(func() {
		close(busy)
		<-goOn
	})
	k, err := newKeeper(tree, vault, func(string, string) error {
		first()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("/proc/sys/fs/inotify/max_queued_events")
	if err != nil {
		t.Fatal(err)
	}
	most, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	write := func(name string) {
		if err := os.WriteFile(filepath.Join(tree, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("0")
	<-busy
	for i := range most + 1 { // by turns: events that are the same become one
		write(strconv.Itoa(i % 2))
	}
	ended := make(chan error)
	go func() { ended <- k.stop() }()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(filepath.Join(tree, endMarker)); err == nil {
			break
		} else if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	close(goOn)
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(time.Minute):
		t.Error("it waits for the end, which has been")
	}
}
