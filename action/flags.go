// SPDX-License-Identifier: Apache-2.0

package action

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// flagValue is the value of an input's flag. It implements pflag.Value.
type flagValue struct {
	input input
	text  string
	set   bool
}

// addFlags gives a command a flag for each input. The values are by the inputs'
// names.
func addFlags(command *cobra.Command) map[string]*flagValue {
	values := map[string]*flagValue{}
	for _, section := range flagSections(values) {
		command.Flags().AddFlagSet(section.flags)
	}
	command.SetUsageFunc(func(command *cobra.Command) error {
		out := command.OutOrStderr()
		fmt.Fprintf(out, "Usage:\n  %s\n\nExamples:\n%s\n", command.UseLine(), command.Example)
		for _, section := range flagSections(map[string]*flagValue{}) {
			const columns = 100
			fmt.Fprintf(out, "\n%s:\n%s", section.name, section.flags.FlagUsagesWrapped(columns))
		}
		fmt.Fprint(out, "\nOther:\n      --help      Show this help.\n      --version   Show the version.\n")
		return nil
	})
	return values
}

// nameNearFlag adds the flag that may have been meant to the error of one that is
// unknown; cobra knows which are near, of commands.
func nameNearFlag(command *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	if !errors.As(err, &unknown) {
		return err
	}
	names := &cobra.Command{SuggestionsMinimumDistance: 2}
	for _, input := range inputTable {
		names.AddCommand(&cobra.Command{Use: input.flag(), Run: func(*cobra.Command, []string) {}})
	}
	near := names.SuggestionsFor(unknown.GetSpecifiedName())
	if len(near) == 0 {
		return err
	}
	return fmt.Errorf("%w; did you mean --%s?", err, strings.Join(near, " or --"))
}

// flagSection is the flags of one section of the reference.
type flagSection struct {
	name  string
	flags *pflag.FlagSet
}

// flagSections makes the flags, and puts their values into values.
func flagSections(values map[string]*flagValue) []flagSection {
	var sections []flagSection
	for _, input := range inputTable {
		if len(sections) == 0 || sections[len(sections)-1].name != input.section {
			flags := pflag.NewFlagSet(input.section, pflag.ContinueOnError)
			flags.SortFlags = false
			sections = append(sections, flagSection{input.section, flags})
		}
		value := &flagValue{input: input}
		values[input.name] = value
		flag := sections[len(sections)-1].flags.VarPF(value, input.flag(), "", input.usage())
		flag.DefValue = "" // usage has it, in the words of the other executable
		if input.isBoolean() {
			flag.NoOptDefVal = "true"
		}
	}
	return sections
}

// usage is the input's text for a terminal, with other inputs by their flags. (pflag
// takes what is in backquotes for the name of the value.)
func (i input) usage() string {
	text := i.text
	for _, other := range inputTable {
		text = strings.ReplaceAll(text, "`"+other.name+"`", "--"+other.flag())
	}
	text = strings.ReplaceAll(text, "`", "")
	if i.fallback != "" && !i.isBoolean() {
		text += fmt.Sprintf(" (default: %s)", i.fallback)
	}
	if i.example != "" && !strings.Contains(i.example, "${{") { // which is of workflows
		text += fmt.Sprintf(" Example: %s.", i.example)
	}
	if i.secret {
		text += fmt.Sprintf(" Other users of this machine can read command lines: set %s in the environment instead.", i.variable())
	}
	return text
}

func (i input) isBoolean() bool { return i.fallback == "false" }

// String implements pflag.Value.
func (v *flagValue) String() string { return v.input.fallback }

// Type implements pflag.Value.
func (v *flagValue) Type() string {
	if v.input.isBoolean() {
		return "bool" // which pflag leaves out of the help
	}
	return v.input.value
}

// Set implements pflag.Value. The values of a repeated flag are lines.
func (v *flagValue) Set(text string) error {
	if v.set && v.input.list {
		text = v.text + "\n" + text
	}
	v.text, v.set = text, true
	return nil
}
