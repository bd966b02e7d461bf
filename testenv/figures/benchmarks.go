// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

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

// readBenchmarks reads the output of "go test -bench", and returns what the page
// says of it. A line that is no benchmark's, a benchmark that ran twice and a
// figure that the page lacks are errors.
func readBenchmarks(output io.Reader, now time.Time) (parts, error) {
	m := measurements{cores: "1", values: map[figure]float64{}}
	reader := benchfmt.NewReader(output, "benchmarks")
	var errs []error
	for reader.Scan() {
		switch record := reader.Result().(type) {
		case *benchfmt.SyntaxError:
			errs = append(errs, record)
		case *benchfmt.Result:
			errs = append(errs, m.add(record))
		}
	}
	if err := errors.Join(append(errs, reader.Err())...); err != nil {
		return nil, err
	}
	lines, err := m.page(now)
	return parts{"benchmarks": lines}, err
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
