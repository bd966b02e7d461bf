// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strings"
	"time"
)

// table is a table of the page: a row for each benchmark, a column for each of
// their figures.
type table struct {
	title, first string // the heading, and that of the first column
	columns      []column
	rows         []row
}

type column struct {
	head, unit, format string
}

type row struct {
	name, benchmark string
	aims            map[string]aim // by unit
}

// aim is what a figure should be at most, or at least.
type aim struct {
	least bool
	limit float64
}

func atMost(limit float64) aim  { return aim{limit: limit} }
func atLeast(limit float64) aim { return aim{least: true, limit: limit} }

func (a aim) String() string {
	sign := "≤"
	if a.least {
		sign = "≥"
	}
	return fmt.Sprintf("%s %g", sign, a.limit)
}

func (a aim) met(value float64) bool {
	if a.least {
		return value >= a.limit
	}
	return value <= a.limit
}

// The units of the benchmarks in cmd that have an aim, and of what follows from
// several.
const (
	ratio         = "ratio"
	timesTheLoop  = "times-the-loop"
	requests      = "requests/artifact"
	perArtifact   = "ms/artifact"
	perSignature  = "ms/signature"
	rawRate       = "times-the-raw-rate"
	signingPeak   = "signing-MiB"
	verifyingPeak = "verifying-MiB"
	signCalls     = "calls/signature"
	describeCalls = "calls/description"
	perRun        = "s/run"
)

const (
	rawSignatures = "Action/raw_signatures"
	signLoopback  = "Action/sign/0s"
)

// tables is what the page shows. Four requests sign an artifact; a run may need
// ten besides, which are 0.1 for each of 100 artifacts.
var tables = []table{
	{
		title: "One signature: the plugin and pkcs11-tool", first: "key",
		columns: []column{{"plugin", "plugin-ms", "%.1f ms"}, {"pkcs11-tool", "pkcs11-tool-ms", "%.1f ms"}, {"ratio", ratio, "%.2f"}},
		rows: []row{
			{"RSA-3072", "GenerateSignature/RSA-3072", map[string]aim{ratio: atMost(1.5)}},
			{"EC-256", "GenerateSignature/EC-256", map[string]aim{ratio: atMost(1.5)}},
		},
	},
	{
		title: "A remote token: 5 ms more for each call", first: "key",
		columns: []column{
			{"plugin", "plugin-ms", "%.0f ms"}, {"pkcs11-tool", "pkcs11-tool-ms", "%.0f ms"}, {"ratio", ratio, "%.2f"},
			{"PKCS#11 calls of `generate-signature`", signCalls, "%.0f"}, {"PKCS#11 calls of `describe-key`", describeCalls, "%.0f"},
		},
		rows: []row{
			{"RSA-2048", "FarToken/RSA-2048", map[string]aim{ratio: atMost(1.6), signCalls: atMost(28), describeCalls: atMost(18)}},
			{"EC-256", "FarToken/EC-256", map[string]aim{ratio: atMost(1.6), signCalls: atMost(28), describeCalls: atMost(18)}},
		},
	},
	{
		title: "`notation sign`: with the plugin and with a key file", first: "key",
		columns: []column{{"plugin", "plugin-ms", "%.1f ms"}, {"key file", "key-file-ms", "%.1f ms"}, {"ratio", ratio, "%.2f"}},
		rows: []row{
			{"RSA-3072", "NotationSign/RSA-3072", map[string]aim{ratio: atMost(2.5)}},
			{"EC-256", "NotationSign/EC-256", map[string]aim{ratio: atMost(2.5)}},
		},
	},
	{
		title: "One signature by the agent: the plugin and pkcs11-tool", first: "key",
		columns: []column{{"plugin with the agent", "agent-ms", "%.1f ms"}, {"pkcs11-tool", "pkcs11-tool-ms", "%.1f ms"}, {"ratio", ratio, "%.2f"}},
		rows: []row{
			{"RSA-3072", "AgentGenerateSignature/RSA-3072", map[string]aim{ratio: atMost(0.7)}},
			{"EC-256", "AgentGenerateSignature/EC-256", map[string]aim{ratio: atMost(0.7)}},
		},
	},
	{
		title: "A remote token and the agent: 5 ms more for each call", first: "key",
		columns: []column{{"plugin with the agent", "agent-ms", "%.0f ms"}, {"pkcs11-tool", "pkcs11-tool-ms", "%.0f ms"}, {"ratio", ratio, "%.2f"}},
		rows: []row{
			{"RSA-2048", "AgentFarToken/RSA-2048", map[string]aim{ratio: atMost(0.3)}},
			{"EC-256", "AgentFarToken/EC-256", map[string]aim{ratio: atMost(0.3)}},
		},
	},
	{
		title: "`notation sign`: with the agent and with a key file", first: "key",
		columns: []column{{"plugin with the agent", "agent-ms", "%.1f ms"}, {"key file", "key-file-ms", "%.1f ms"}, {"ratio", ratio, "%.2f"}},
		rows: []row{
			{"RSA-3072", "AgentNotationSign/RSA-3072", map[string]aim{ratio: atMost(2)}},
			{"EC-256", "AgentNotationSign/EC-256", map[string]aim{ratio: atMost(2)}},
		},
	},
	{
		title: "The action on 100 artifacts, and a loop of `notation`", first: "run",
		columns: []column{{"time per artifact", perArtifact, "%.1f ms"}, {"times as fast as the loop", timesTheLoop, "%.1f"}, {"requests per artifact", requests, "%.2f"}},
		rows: []row{
			{"sign", signLoopback, map[string]aim{timesTheLoop: atLeast(10), requests: atMost(4.1)}},
			{"sign, 50 ms more per request", "Action/sign/50ms", map[string]aim{timesTheLoop: atLeast(25), requests: atMost(4.1)}},
			{"verify", "Action/verify/0s", map[string]aim{timesTheLoop: atLeast(8), requests: atMost(4)}},
			{"verify, 50 ms more per request", "Action/verify/50ms", map[string]aim{timesTheLoop: atLeast(20), requests: atMost(4)}},
		},
	},
	{
		title: "The action's signatures, and bare signatures", first: "key",
		columns: []column{{"time per bare signature", perSignature, "%.1f ms"}, {"the action's rate, as a part of the bare rate", rawRate, "%.2f"}},
		rows:    []row{{"RSA-3072", rawSignatures, map[string]aim{rawRate: atLeast(0.5)}}},
	},
	{
		title: "The action on 96 artifacts, with a token that takes 200 ms per signature", first: "run",
		columns: []column{{"time per run", perRun, "%.1f s"}, {"signatures at once", "sessions", "%.0f"}},
		rows:    []row{{"sign, `concurrency` 64", "Action/slow_token", map[string]aim{perRun: atMost(2.5)}}},
	},
	{
		title: "The action's peak memory, with 1,000 artifacts", first: "process",
		columns: []column{{"signing", signingPeak, "%.0f MiB"}, {"verifying", verifyingPeak, "%.0f MiB"}},
		rows:    []row{{"the action", "Action/memory", map[string]aim{signingPeak: atMost(64), verifyingPeak: atMost(64)}}},
	},
}

// page returns the lines of the generated part of the page. Each figure must be
// there.
func (m measurements) page(now time.Time) ([]string, error) {
	if err := m.derive(); err != nil {
		return nil, err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "Measured on %s, on %s with %s cores, %s.\n", now.UTC().Format(time.DateOnly), m.cpu, m.cores, m.system)
	for _, t := range tables {
		fmt.Fprintf(&b, "\n## %s\n\n| %s |", t.title, t.first)
		for _, c := range t.columns {
			fmt.Fprintf(&b, " %s |", c.head)
		}
		fmt.Fprintf(&b, "\n|%s\n", strings.Repeat("---|", 1+len(t.columns)))
		for _, r := range t.rows {
			fmt.Fprintf(&b, "| %s |", r.name)
			for _, c := range t.columns {
				value, ok := m.values[figure{r.benchmark, c.unit}]
				if !ok {
					return nil, fmt.Errorf("benchmark %s has no %s", r.benchmark, c.unit)
				}
				fmt.Fprintf(&b, " %s |", cell(fmt.Sprintf(c.format, value), value, r.aims[c.unit]))
			}
			b.WriteString("\n")
		}
	}
	return strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n"), nil
}

// cell is a figure with its aim, if it has one.
func cell(text string, value float64, a aim) string {
	switch {
	case a == aim{}:
		return text
	case a.met(value):
		return fmt.Sprintf("%s (aim %s: met)", text, a)
	default:
		return fmt.Sprintf("**%s** (aim %s: **not met**)", text, a)
	}
}

// derive adds what follows from two benchmarks: how many signatures the action
// makes in the time of a bare one.
func (m measurements) derive() error {
	bare, ok := m.values[figure{rawSignatures, perSignature}]
	took := m.values[figure{signLoopback, perArtifact}]
	if !ok || took <= 0 {
		return fmt.Errorf("benchmarks %s and %s are needed", rawSignatures, signLoopback)
	}
	m.values[figure{rawSignatures, rawRate}] = bare / took
	return nil
}
