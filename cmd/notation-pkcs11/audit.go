// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/notation-pkcs11/notation-pkcs11/internal/auditlog"
)

func auditCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "audit",
		Short:   "Check an audit log",
		Long:    `Check an audit log, which the plugin writes if audit_log is set.`,
		Example: `  notation-pkcs11 audit verify /var/log/signing/audit.log`,
		Args:    knownCommand,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(auditVerifyCommand())
	return cmd
}

func auditVerifyCommand() *cobra.Command {
	v := &auditVerification{}
	cmd := &cobra.Command{
		Use:   "verify FILE",
		Short: "Check that no line of an audit log was changed, removed or inserted",
		Long: `Check the chain of an audit log: each line contains the SHA-256 of the line before.
If the chain is broken, the error names the line and the reason. The output counts
the lines and ends with the hash of the last line.

The chain alone doesn't show that the last line was changed, that lines were cut off
at the end, or that the whole log was written again. Keep the last hash on another
machine and pass it with --expect the next time. If a line has this hash, that line
and all lines before it are unchanged.

The command only reads the log and doesn't lock it. The exit status is 1 if the chain
is broken, if no line has the expected hash, or if the file can't be read.`,
		Example: `  notation-pkcs11 audit verify /var/log/signing/audit.log
  notation-pkcs11 audit verify /var/log/signing/audit.log --expect 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
  notation-pkcs11 audit verify /var/log/signing/audit.log --output json`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return fmt.Errorf("%s takes one file; it got %s", cmd.CommandPath(), plural(len(args), "argument", "arguments"))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error { return explained(v.run(cmd, args)) },
	}
	cmd.Flags().StringVar(&v.expect, "expect", "", "`HASH` that a line must have: the last hash that an earlier run printed")
	cmd.Flags().StringVar(&v.format, "output", formatText, "form of the output, `text|json`")
	completeWith(cmd, "output", formatText, formatJSON)
	return cmd
}

// auditVerification is the command line of audit verify.
type auditVerification struct{ expect, format string }

// auditResult is the JSON of the command audit verify.
type auditResult struct {
	File  string `json:"file"`
	Valid bool   `json:"valid"`
	// Problem is why it is not valid, and Line is where, if it is in a line.
	Problem string `json:"problem,omitempty"`
	Line    int    `json:"line,omitempty"`
	// What was read, up to the problem.
	auditlog.Summary

	expectedLacks bool // the chain is intact, and no line has the expected hash
}

func (v *auditVerification) run(cmd *cobra.Command, args []string) error {
	if err := oneOf("output", v.format, []string{formatText, formatJSON}); err != nil {
		return err
	}
	if v.expect != "" && !auditlog.IsHash(v.expect) {
		return fmt.Errorf("--expect %q is not a hash of 64 hexadecimal digits in lower case", v.expect)
	}
	result, err := verifyAudit(args[0], v.expect)
	if err != nil && result.Problem == "" { // nothing was read
		return &failure{error: err}
	}
	out := newScreen(cmd.OutOrStdout())
	if v.format == formatJSON {
		if printed := out.json(result); printed != nil {
			return unsaid("", printed)
		}
	} else if printed := out.audit(result); printed != nil {
		return unsaid("", printed)
	}
	if err != nil {
		return err
	}
	if v.expect == "" && v.format == formatText {
		newScreen(cmd.ErrOrStderr()).note("without --expect, a changed last line or lines cut off at the end don't show; keep the last hash on another machine")
	}
	return nil
}

// verifyAudit reads a log. An error of it that is found in what was read has the
// result's Problem set.
func verifyAudit(path, expect string) (auditResult, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a pipe would be waited for
	if err != nil {
		return auditResult{}, fmt.Errorf("%s can't be read: %w", shellQuote(path), withoutPath(err))
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() { // a pipe or a directory
		return auditResult{}, errors.Join(fmt.Errorf("%s is not a regular file", shellQuote(path)), err)
	}
	result := auditResult{File: path}
	result.Summary, err = auditlog.Verify(f, expect)
	var broken *auditlog.BrokenError
	hint := ""
	switch {
	case err == nil:
		result.Valid = true
		return result, nil
	case errors.As(err, &broken):
		result.Problem, result.Line = broken.Reason, broken.Line
		hint = fmt.Sprintf("Compare the log with a copy on another machine, from line %d on", max(1, broken.Line-1))
	case errors.Is(err, auditlog.ErrNotInLog):
		result.Problem, result.expectedLacks = err.Error(), true
		hint = "Compare the log with a copy on another machine"
	default:
		return auditResult{}, fmt.Errorf("%s can't be read: %w", shellQuote(path), withoutPath(err))
	}
	if result.Lines == 0 {
		hint = "Check that the file is an audit log"
	}
	return result, &failure{error: fmt.Errorf("%s: %w", shellQuote(path), err), hint: hint}
}

// audit prints what was read.
func (s screen) audit(r auditResult) error {
	verdict := s.paint(green, "intact")
	if !r.Valid && !r.expectedLacks {
		verdict = s.paint(red, "broken")
	}
	rows := [][]string{
		{"chain", verdict},
		{"lines", r.counted()},
		{"time", r.period()},
		{"last hash", r.Hash},
	}
	if r.Expected > 0 {
		rows = append(rows, []string{"expected hash", fmt.Sprintf("of line %d", r.Expected)})
	}
	if r.expectedLacks {
		rows = append(rows, []string{"expected hash", s.paint(red, "not in the log")})
	}
	for _, line := range r.Torn {
		rows = append(rows, []string{"torn line", fmt.Sprintf("%d: cut by a crash; what it was about was not signed, or not given out", line)})
	}
	return s.table(rows)
}

// counted counts the lines by their events.
func (r auditResult) counted() string {
	var parts []string
	for _, event := range slices.Sorted(maps.Keys(r.Events)) {
		parts = append(parts, fmt.Sprintf("%d %s", r.Events[event], visible(string(event))))
	}
	if len(parts) == 0 {
		return strconv.Itoa(r.Lines)
	}
	return fmt.Sprintf("%d (%s)", r.Lines, strings.Join(parts, ", "))
}

func (r auditResult) period() string {
	if r.First == nil {
		return "-"
	}
	return r.First.Format(time.RFC3339) + " to " + r.Last.Format(time.RFC3339)
}
