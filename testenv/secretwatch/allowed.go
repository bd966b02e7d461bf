// SPDX-License-Identifier: Apache-2.0

package main

import "regexp"

// rule is where the tests' secrets may be.
type rule struct {
	kind kind
	name string // a regular expression for the whole name of the file or program
	part string // likewise for the variable, or for the line of an output
	why  string
}

// allowed are all the places where tests put their secrets on purpose. Of a module
// host there is one alone, which the product can't know: what it is started with
// else is the product's to answer for.
var allowed = []rule{
	{inArguments, `pkcs11-tool|softhsm2-util|tpm2_.*|tpm2_ptool.*|python3?`, "", "they make tokens, and take PINs in no other way"},
	{inArguments, `sh|bash`, "", "scripts of tests and of the documentation, which run those"},
	{inEnvironment, `.*`, `PIN|MY_PIN|SELFTEST_PIN`, "variables of scripts and of a workflow, whose names mean nothing to the product"},
	{inOutput, `.*\.json`, `.*"Test":"TestScripts/[^"]*","Output":" *PIN=[^ ]*\\n"\}\n?`, "testscript prints the environment of a script"},
	{inEnvironment, `notation|notation-pkcs11|notation-pkcs11-action|[a-z0-9-]+\.test|sh|bash|openssl`, `NOTATION_PKCS11_PIN`, "who starts a plugin may set it, for what else a script runs, too; notation hands it on"},
	{inEnvironment, `notation-pkcs11-action|[a-z0-9-]+\.test|sh|bash`, `INPUT_PIN|INPUT_REGISTRY_PASSWORD`, "the action's inputs, with which a runner starts it"},
	{inFile, `(?:.*/)?(?:pin|pin\.txt|typed)`, "", "PIN files"},
	{inFile, `(?:.*/)?rules`, "", "rules of the module that misbehaves: its own PIN pad has a PIN"},
	{inFile, `(?:.*/)?[a-z-]+\.txtar|script-[^/]+/.*`, "", "the scripts, which have PINs to be typed and to be refused"},
	{inFile, `TestWorkflowRunsGreen.*/(?:testenv/token\.go|envs\.txt|selftest\.env(?:\.part)?)`, "", "a copy of the sources, and what a workflow hands on to its steps"},
	{inFile, `(?:.*/)?config\.json`, "", "a login in Docker's configuration"},
}

func (r rule) allows(p place) bool {
	matches := func(pattern, text string) bool { return regexp.MustCompile(`^(?:` + pattern + `)$`).MatchString(text) }
	return r.kind == p.kind && matches(r.name, p.name) && (r.part == "" || matches(r.part, p.part))
}
