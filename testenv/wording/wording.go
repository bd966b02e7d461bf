// SPDX-License-Identifier: Apache-2.0

// Package wording holds what the programs print of a failure to one form: what failed,
// on which object, and the cause; then a hint, which is one short imperative, unless
// the error says already what to do. Start from [Pair] for a program's own strings, and
// from [Output] for what a program printed.
package wording

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// mostWords is the length of a hint.
const mostWords = 15

// avoided are words that are not used in what people read.
var avoided = regexp.MustCompile(`(?i)\b(whoever|whom|somebody|everybody|wants?|stands?|mend|blanks?|beforehand|vouch(es)?|should|all the same|in the way|has it)\b`)

// quoted is what an error repeats of others.
var quoted = regexp.MustCompile(`"(\\.|[^"\\])*"|'[^']*'`)

// capitalised is a word as it begins a sentence; names are written otherwise.
var capitalised = regexp.MustCompile(`^[A-Z][a-z]+\b`)

// advises finds what to do within an error.
var advises = regexp.MustCompile(`[;,] (so )?(add|ask|check|choose|correct|delete|fix|get|give|have it|install|leave|look|make sure|move|name|put|remove|rename|run|set|start|take|try|unset|use)\b|\bdid you mean\b`)

// verbs begin the hints. A new one is welcome, if it is an imperative.
var verbs = []string{
	"Add", "Allow", "Ask", "Change", "Check", "Choose", "Compare", "Confirm", "Correct", "Create", "Delete", "Import", "Initialize",
	"End", "Generate", "Get", "Have", "Install", "Look", "Make", "Move", "Plug", "Put", "Raise", "Remove", "Renew", "Reset", "Log", "Run", "Set", "Sign",
	"Start", "Store", "Try", "Unset", "Update", "Use", "Write",
}

// Pair returns what is wrong with the form of an error and its hint, which are as in
// the code: without the words error and hint. An error without a hint has an empty one.
func Pair(what, hint string) []string {
	flaws := append(Error(what), Hint(hint)...)
	said := quoted.ReplaceAllString(what, "")
	if hint != "" && strings.Contains(strings.ToLower(what), strings.ToLower(hint)) {
		flaws = append(flaws, "the hint repeats the error")
	}
	if found := advises.FindString(said); hint != "" && found != "" {
		flaws = append(flaws, fmt.Sprintf("the error says what to do (%q), and so does the hint", found))
	}
	return flaws
}

// Error returns what is wrong with the form of an error.
func Error(what string) []string {
	var flaws []string
	if what == "" {
		return []string{"the error is empty"}
	}
	if strings.HasSuffix(what, ".") || strings.HasSuffix(what, "!") {
		flaws = append(flaws, "the error ends like a sentence")
	}
	if capitalised.MatchString(what) {
		flaws = append(flaws, "the error begins like a sentence")
	}
	return append(flaws, words(what)...)
}

// Hint returns what is wrong with the form of a hint.
func Hint(hint string) []string {
	if hint == "" {
		return nil
	}
	var flaws []string
	if n := len(strings.Fields(hint)); n > mostWords {
		flaws = append(flaws, fmt.Sprintf("the hint has %d words, more than %d", n, mostWords))
	}
	if strings.HasSuffix(hint, ".") || strings.Contains(hint, ". ") {
		flaws = append(flaws, "the hint is not one sentence without its full stop")
	}
	first, _, _ := strings.Cut(hint, " ")
	if !slices.Contains(verbs, strings.TrimRight(first, ":,")) && first != "If" {
		flaws = append(flaws, fmt.Sprintf("the hint begins with %q, which is no imperative that is known", first))
	}
	return append(flaws, words(hint)...)
}

func words(text string) []string {
	if found := avoided.FindString(quoted.ReplaceAllString(text, "")); found != "" {
		return []string{fmt.Sprintf("it has the word %q", found)}
	}
	return nil
}

// whereThePINIs is what hints call the PIN, as one word.
var whereThePINIs = regexp.MustCompile(`the environment variable NOTATION_PKCS11_PIN|the PIN source \S+|what was typed( at the token's PIN pad)?`)

// Message splits the message of an error of the plugin contract, in which the hint is a
// sentence of its own.
func Message(message string) (what, hint string) {
	told, isSentence := strings.CutSuffix(message, ".")
	if !isSentence {
		return message, ""
	}
	for _, end := range slices.Backward(sentence.FindAllStringIndex(told, -1)) {
		return told[:end[0]], oneWord(told[end[0]+2:])
	}
	return message, ""
}

var sentence = regexp.MustCompile(`\. [A-Z]`)

func oneWord(hint string) string { return whereThePINIs.ReplaceAllString(hint, "{pin}") }

// Output returns what is wrong with what a command of the plugin's executable printed to
// standard error when it failed: a line for the error, and perhaps one for the hint.
// Notes before them are left alone.
func Output(stderr string) []string {
	var what, hint string
	for line := range strings.Lines(stderr) {
		line = strings.TrimSuffix(line, "\n")
		if text, ok := strings.CutPrefix(line, "error: "); ok && what == "" {
			what = text
		} else if text, ok := strings.CutPrefix(line, "hint: "); ok && what != "" && hint == "" {
			hint = oneWord(text)
		} else if what != "" || !strings.HasPrefix(line, "note: ") {
			return []string{fmt.Sprintf("there is the line %q beside one error and its hint", line)}
		}
	}
	return Pair(what, hint)
}
