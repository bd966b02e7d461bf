// SPDX-License-Identifier: Apache-2.0

// Package runner reads what a step of a workflow says as GitHub's runner reads it:
// commands in the log, and files of outputs. Tests hold with it that nothing is
// said that was not meant.
package runner

import (
	"strings"
	"unicode"
)

// Command is a workflow command.
type Command struct{ Name, Title, Data string }

// ParseCommand returns the command that the runner takes a line of a log for. Its
// rules are those of ActionCommand.TryParseV2 and TryParse in actions/runner.
func ParseCommand(line string) (Command, bool) {
	line, isCommand := strings.CutPrefix(strings.TrimLeftFunc(line, unicode.IsSpace), "::")
	info, data, found := strings.Cut(line, "::")
	if !isCommand || !found {
		return Command{}, false
	}
	name, properties, _ := strings.Cut(info, " ")
	c := Command{Name: name, Data: unescapeCommand(data)}
	for property := range strings.SplitSeq(strings.TrimSpace(properties), ",") {
		if key, value, _ := strings.Cut(property, "="); key == "title" {
			c.Title = unescapeCommand(value)
		}
	}
	return c, true
}

func unescapeCommand(s string) string {
	for _, pair := range [][2]string{{"%0D", "\r"}, {"%0A", "\n"}, {"%3A", ":"}, {"%2C", ","}, {"%25", "%"}} {
		s = strings.ReplaceAll(s, pair[0], pair[1])
	}
	return s
}

// ReadOutputs reads the runner's file of outputs, as names with values. Its rules are those of file
// commands in actions/runner.
func ReadOutputs(content string) (outputs [][2]string) {
	lines := strings.Split(content, "\n")
	for i := 0; i < len(lines); i++ {
		if name, end, heredoc := strings.Cut(lines[i], "<<"); heredoc && !strings.Contains(name, "=") {
			first := i + 1
			for i++; i < len(lines) && lines[i] != end; i++ {
			}
			outputs = append(outputs, [2]string{name, strings.Join(lines[first:min(i, len(lines))], "\n")})
		} else if name, value, found := strings.Cut(lines[i], "="); found {
			outputs = append(outputs, [2]string{name, value})
		} else if lines[i] != "" {
			outputs = append(outputs, [2]string{lines[i], "which is no output"})
		}
	}
	return outputs
}
