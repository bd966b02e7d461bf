// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"strings"

	"golang.org/x/perf/benchfmt"
)

// measurements is what benchmarks printed.
type measurements struct {
	system, cpu string             // such as "linux/amd64", and the processor's model
	cores       string             // that Go used
	values      map[figure]float64 // in the units that the benchmarks report
}

// figure names one value of a benchmark.
type figure struct {
	benchmark string // such as "NotationSign/EC-256"
	unit      string
}

// read reads the output of "go test -bench" to its end. A failed test, a line
// that is no benchmark's and a benchmark that ran twice are errors.
func read(output io.Reader) (measurements, error) {
	m := measurements{cores: "1", values: map[figure]float64{}}
	var failed failures
	reader := benchfmt.NewReader(io.TeeReader(output, &failed), "benchmarks")
	for reader.Scan() {
		switch record := reader.Result().(type) {
		case *benchfmt.SyntaxError:
			return m, record
		case *benchfmt.Result:
			if err := m.add(record); err != nil {
				return m, err
			}
		}
	}
	if err := reader.Err(); err != nil {
		return m, err
	}
	return m, failed.err()
}

func (m *measurements) add(result *benchfmt.Result) error {
	m.system = result.GetConfig("goos") + "/" + result.GetConfig("goarch")
	m.cpu = result.GetConfig("cpu")
	base, parts := result.Name.Parts()
	name := string(base)
	for _, part := range parts {
		if cores, ok := strings.CutPrefix(string(part), "-"); ok {
			m.cores = cores // which Go leaves out where it is 1
			continue
		}
		name += string(part)
	}
	for _, value := range result.Values {
		f := figure{name, value.Unit}
		if _, again := m.values[f]; again {
			return fmt.Errorf("%s was measured twice: run the benchmarks once", name)
		}
		m.values[f] = value.Value
	}
	return nil
}

// failures collects the lines with which go test says that something failed;
// the format of benchmarks has no place for them.
type failures struct {
	line  []byte
	found string // the first of them
}

func (f *failures) Write(p []byte) (int, error) {
	for _, c := range p {
		if c != '\n' {
			f.line = append(f.line, c)
			continue
		}
		f.look()
	}
	return len(p), nil
}

func (f *failures) look() {
	line := string(f.line)
	f.line = f.line[:0]
	if f.found == "" && (strings.HasPrefix(line, "--- FAIL") || strings.HasPrefix(line, "FAIL")) {
		f.found = line
	}
}

func (f *failures) err() error {
	f.look() // what no line end followed
	if f.found == "" {
		return nil
	}
	return fmt.Errorf("a benchmark failed: %s", f.found)
}
