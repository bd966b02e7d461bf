// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/notation-pkcs11/notation-pkcs11/testenv"
)

const module = "github.com/notation-pkcs11/notation-pkcs11/"

// tallies is what tests and fuzz targets reported.
type tallies struct {
	of     map[testenv.Count]tally
	fuzzed []fuzz
}

type tally struct{ tried, held int }

// fuzz is the run of a fuzz target.
type fuzz struct {
	name       string // folder and function
	lasted     time.Duration
	executions int
}

var (
	tallyLine = regexp.MustCompile(`\btally: ([a-z ]+): (\d+) tried, (\d+) held$`)
	fuzzLine  = regexp.MustCompile(`^fuzz: elapsed: (\S+), execs: (\d+) `)
	fuzzStart = regexp.MustCompile(`^(\S+) (Fuzz\w+)$`)
)

// readTallies reads the output of "go test -v" and "make fuzz", and returns what
// the page says of it. A count that was not reported, or of which not all held, is
// an error.
func readTallies(output io.Reader, now time.Time) (parts, error) {
	found := tallies{of: map[testenv.Count]tally{}}
	var errs []error
	lines := bufio.NewScanner(output)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		errs = append(errs, found.add(strings.TrimRight(lines.Text(), " ")))
	}
	counts, err := found.counts()
	if err := errors.Join(append(errs, lines.Err(), err)...); err != nil {
		return nil, err
	}
	return parts{"counts": append(ranOn(now), counts...), "fuzz targets": found.targets()}, nil
}

func (t *tallies) add(line string) error {
	if match := tallyLine.FindStringSubmatch(line); match != nil {
		tried, errTried := strconv.Atoi(match[2])
		held, errHeld := strconv.Atoi(match[3])
		sum := t.of[testenv.Count(match[1])]
		t.of[testenv.Count(match[1])] = tally{sum.tried + tried, sum.held + held}
		return errors.Join(errTried, errHeld)
	}
	if match := fuzzStart.FindStringSubmatch(line); match != nil {
		t.fuzzed = append(t.fuzzed, fuzz{name: strings.TrimPrefix(match[1], module) + " " + match[2]})
		return nil
	}
	if match := fuzzLine.FindStringSubmatch(line); match != nil {
		if len(t.fuzzed) == 0 {
			return fmt.Errorf("no target was named before %q", line)
		}
		last := &t.fuzzed[len(t.fuzzed)-1]
		var errLasted, errExecutions error
		last.lasted, errLasted = time.ParseDuration(match[1])
		last.executions, errExecutions = strconv.Atoi(match[2])
		return errors.Join(errLasted, errExecutions)
	}
	return nil
}
