// SPDX-License-Identifier: Apache-2.0

package action

import (
	"slices"
	"strings"

	"github.com/notation-pkcs11/notation-pkcs11/action/report"
)

// output is one thing that a run tells the steps after it.
type output struct{ name, text string }

// outputTable is the one table of outputs.
var outputTable = []output{
	{outputDigests, "Digests of the artifacts, one per line, in the order of the input. With `recursive`, each image index comes before its manifests. Duplicates appear once. Artifacts that couldn't be resolved are omitted."},
	{outputSignatureDigests, "Digests of the signature manifests that were added, one per line."},
	{outputVerified, "`true` if all artifacts verified; `skipped` if all verified except those whose policy level is `skip`; otherwise `false`. Empty in modes that don't verify."},
	{outputVerifyCommands, "One `notation verify` command per line, for each artifact that was signed or verified without a failure. The command uses the trust policy of the machine on which you run it."},
	{outputArtifacts, "Path of a JSON file that lists the artifacts with their digests, tags, signatures, verdicts, and the dates until which they verify. docs/report.md describes it."},
	{outputReport, "Path of the JSON report, which docs/report.md describes."},
}

const (
	outputDigests          = "digests"
	outputSignatureDigests = "signature_digests"
	outputVerified         = "verified"
	outputVerifyCommands   = "verify_commands"
	outputArtifacts        = "artifacts"
	outputReport           = "report"
)

// deliver writes outputs, summary, list, report and log. The list goes into the
// temporary directory. What can't be written is a warning:
// the signatures are made.
func deliver(console *report.Console, file *report.File, temporary string, r *report.Report) {
	warn := func(err error) {
		if err != nil {
			r.Warnings = append(r.Warnings, report.Message(err))
		}
	}
	for _, o := range outputs(r) {
		warn(console.SetOutput(o.name, o.value))
	}
	warn(console.Summarise(r))
	list, err := r.WriteListFile(temporary, Name)
	warn(err)
	warn(console.SetOutput(outputArtifacts, list))
	path, err := file.Write(r)
	warn(err)
	warn(console.SetOutput(outputReport, path))
	console.Show(r)
}

type outputValue struct{ name, value string }

// outputs are those of the step, but the paths of files.
func outputs(r *report.Report) []outputValue {
	var digests, signatures []string
	for i := range r.Artifacts {
		if a := &r.Artifacts[i]; a.Digest != "" && a.Attached == nil {
			digests = append(digests, a.Digest)
		}
		if s := r.Artifacts[i].Signed; s != nil {
			signatures = append(signatures, s.Digest)
		}
	}
	return []outputValue{
		{outputDigests, strings.Join(digests, "\n")},
		{outputSignatureDigests, strings.Join(signatures, "\n")},
		{outputVerified, verified(r)},
		{outputVerifyCommands, strings.Join(r.VerifyCommands(), "\n")},
	}
}

// verified says in a word how verifying went.
func verified(r *report.Report) string {
	n := r.Count()
	switch {
	case !slices.Contains([]mode{modeVerify, modeSignAndVerify, modePromote}, mode(r.Mode)):
		return ""
	case n.Verified == n.Artifacts && n.Artifacts > 0:
		return "true"
	case n.Verified+n.Skipped == n.Artifacts && n.Artifacts > 0:
		return "skipped"
	default:
		return "false"
	}
}
