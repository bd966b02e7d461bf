// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/notation-pkcs11/notation-pkcs11/testenv/leak"
)

// program is what a process shows of itself at one time.
type program struct {
	name        string // of its first argument, without the path, and the second if it is a word
	arguments   []byte // as /proc has them
	environment []byte
}

// observer looks at a process and all below it, again and again.
type observer struct {
	root   int
	marker []byte // a variable that only processes of ours have
	report func(program)
	seen   map[int]*seen
	quit   chan struct{}
	done   chan struct{}
}

// seen is a process that was there at the last look.
type seen struct {
	ours                   bool
	arguments, environment []byte
	look                   int
}

// pause is how long there is none between two looks; and looking takes a tenth of
// the time at most.
const pause = 10 * time.Millisecond

// observe starts to look. A process whose parents are gone is known by a variable
// in its environment, such as "TMPDIR=/tmp/x".
func observe(root int, marker string, report func(program)) *observer {
	o := &observer{root: root, marker: []byte(marker), report: report, seen: map[int]*seen{}, quit: make(chan struct{}), done: make(chan struct{})}
	go func() {
		defer close(o.done)
		for look := 1; ; look++ {
			start := time.Now()
			o.look(look)
			select {
			case <-o.quit:
				return
			case <-time.After(max(pause, 9*time.Since(start))):
			}
		}
	}()
	return o
}

func (o *observer) stop() {
	close(o.quit)
	<-o.done
}

func (o *observer) look(look int) {
	proc, err := os.Open("/proc")
	if err != nil {
		return
	}
	defer proc.Close()
	names, _ := proc.Readdirnames(-1)
	var pids []int
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil {
			pids = append(pids, pid)
		}
	}
	slices.Sort(pids) // parents first, mostly
	for _, pid := range pids {
		s := o.seen[pid]
		if s == nil {
			s = &seen{ours: o.isOurs(pid)}
			o.seen[pid] = s
		}
		s.look = look
		if s.ours {
			o.compare(pid, s)
		}
	}
	for pid, s := range o.seen {
		if s.look != look {
			delete(o.seen, pid)
		}
	}
}

// isOurs reports whether a process is below the root.
func (o *observer) isOurs(pid int) bool {
	if pid == o.root {
		return true
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, rest, _ := bytes.Cut(stat[max(0, bytes.LastIndexByte(stat, ')')):], []byte(") "))
	var state string
	var parent int
	if _, err := fmt.Sscan(string(rest), &state, &parent); err != nil {
		return false
	}
	if s := o.seen[parent]; s != nil && s.ours {
		return true
	}
	environment, _ := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	return slices.ContainsFunc(bytes.Split(environment, []byte{0}), func(v []byte) bool { return bytes.Equal(v, o.marker) })
}

// compare reports what has changed since the last look: by execve it does.
func (o *observer) compare(pid int, s *seen) {
	arguments, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil || len(arguments) == 0 {
		return // gone
	}
	environment, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	if err != nil {
		environment = s.environment
	}
	if bytes.Equal(arguments, s.arguments) && bytes.Equal(environment, s.environment) {
		return
	}
	s.arguments, s.environment = arguments, environment
	o.report(program{nameOf(arguments), arguments, environment})
}

func nameOf(arguments []byte) string {
	words := bytes.SplitN(arguments, []byte{0}, 3)
	name := filepath.Base(string(words[0]))
	if len(words) > 1 && string(words[1]) == leak.HostArgument {
		name += " " + leak.HostArgument
	}
	return name
}
