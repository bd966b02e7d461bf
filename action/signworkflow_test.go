// SPDX-License-Identifier: Apache-2.0

package action

import (
	"fmt"
	"slices"
)

// signWorkflow is called by other workflows. It has the action's inputs and outputs but
// for paths of files, which stay in its job.
const signWorkflow = ".github/workflows/sign.yml"

// jobPaths are inputs and outputs of the action that name files in its job.
var jobPaths = []string{"report", "artifacts"}

// workflowInputs are the inputs that are no secrets.
func workflowInputs() []string {
	var lines []string
	for _, i := range inputTable {
		if i.secret || slices.Contains(jobPaths, i.name) {
			continue
		}
		lines = append(lines, described(i.name, i.text)...)
		lines = append(lines, "  type: string")
		if i.name == "target_artifact_reference" {
			lines = append(lines, "  required: true")
		}
		if i.fallback != "" {
			lines = append(lines, fmt.Sprintf("  default: %q", i.fallback))
		}
	}
	return lines
}

func workflowSecrets() []string {
	var lines []string
	for _, i := range inputTable {
		if i.secret {
			lines = append(lines, described(i.name, i.text)...)
		}
	}
	return lines
}

func workflowOutputs() []string {
	var lines []string
	for _, o := range outputTable {
		if !slices.Contains(jobPaths, o.name) {
			lines = append(lines, described(o.name, o.text)...)
			lines = append(lines, fmt.Sprintf("  value: ${{ jobs.sign.outputs.%s }}", o.name))
		}
	}
	return lines
}

func workflowResults() []string {
	var lines []string
	for _, o := range outputTable {
		if !slices.Contains(jobPaths, o.name) {
			lines = append(lines, fmt.Sprintf("%s: ${{ steps.run.outputs.%[1]s }}", o.name))
		}
	}
	return lines
}

// workflowValues hand the inputs and secrets to the action. The job's token goes to the
// registry of the target alone.
func workflowValues() []string {
	var lines []string
	for _, i := range inputTable {
		value := "inputs." + i.name
		switch {
		case slices.Contains(jobPaths, i.name):
			continue
		case i.name == "registry_username":
			value = "inputs.use_github_token && github.actor || " + value
		case i.name == "registry_password":
			value = "inputs.use_github_token && github.token || secrets." + i.name
		case i.secret:
			value = "secrets." + i.name
		}
		lines = append(lines, fmt.Sprintf("%s: ${{ %s }}", i.name, value))
	}
	return lines
}

// described is the beginning of an input, a secret or an output.
func described(name, text string) []string {
	return append([]string{name + ":", "  description: >-"}, fold(text, "    ", 90)...)
}
