// SPDX-License-Identifier: Apache-2.0

package main

import "regexp"

// rule is where one of the tests' secrets may be.
type rule struct {
	kind   kind
	secret string // a regular expression for the whole name of the secret
	name   string // likewise for that of the file or program
	part   string // likewise for the variable, or for the line of an output
	why    string
}

// The secrets, as findings call them.
const (
	thePIN       = "the PIN"
	theSOPIN     = "the security officer's PIN"
	thePassword  = "the registry's password"
	pinOrSOPIN   = thePIN + "|" + theSOPIN
	eachOfThem   = pinOrSOPIN + "|" + thePassword
	testsProgram = `[a-z0-9-]+\.test`
	// What scripts of tests run beside the product's programs inherits all they have.
	scripts = `awk|base64|basename|bash|cat|chmod|cmp|comm|cp|crane|cut|date|dd|diff|dirname|env|find|grep|gzip|head|id|jq|kill|ln|ls|mkdir|mktemp|mv|nohup|od|oras|paste|printf|ps|readlink|realpath|rm|sed|seq|setsid|sh|sha256sum|sha512sum|sleep|sort|stat|tail|tar|tee|test|timeout|touch|tr|true|truncate|uniq|wc|xargs`
)

// allowed are all the places where tests put their secrets on purpose. Of a module
// host there is one alone, which the product can't know: what it is started with
// else is the product's to answer for.
var allowed = []rule{
	{inArguments, pinOrSOPIN, `pkcs11-tool|softhsm2-util|tpm2_.*|tpm2_ptool.*|python3?`, "", "they make tokens, and take PINs in no other way"},
	{inArguments, pinOrSOPIN, `sh|bash`, "", "scripts of tests and of the documentation, which run those"},
	{inEnvironment, thePIN, `.*`, `PIN|MY_PIN|OF_RELEASES|SELFTEST_PIN`, "variables of scripts and of a workflow, whose names mean nothing to the product, and which all that they run inherits"},
	{inOutput, thePIN, `.*\.json`, `.*"Test":"TestScripts/[^"]*","Output":" *PIN=[^ ]*\\n"\}\n?`, "testscript prints the environment of a script"},
	{inEnvironment, thePIN, `notation|notation-pkcs11|notation-pkcs11-action|openssl|` + testsProgram + `|` + scripts, `NOTATION_PKCS11_PIN`, "who starts a plugin may set it, for what else a script runs, too; notation hands it on"},
	{inEnvironment, thePIN, `notation-pkcs11-action|` + testsProgram + `|` + scripts, `INPUT_PIN`, "an input of the action, with which a runner starts it"},
	{inEnvironment, thePassword, `notation-pkcs11-action|` + testsProgram + `|` + scripts, `INPUT_REGISTRY_PASSWORD`, "likewise"},
	{inFile, thePIN, `.+/(?:given-pin|pin|pin\.txt|typed)`, "", "PIN files"},
	{inFile, thePIN, `.+/faults-\d+/rules`, "", "rules of the module that misbehaves: its own PIN pad has a PIN"},
	{inFile, thePIN, `(?:.*/)?[a-z-]+\.txtar|.*/script-[^/]+/.*`, "", "the scripts, which have PINs to be typed and to be refused"},
	{inFile, eachOfThem, `Test(?:WorkflowRunsGreen|ReusableWorkflow).*/testenv/token\.go`, "", "a copy of the sources"},
	{inFile, thePIN, `Test(?:WorkflowRunsGreen|ReusableWorkflow).*/(?:envs\.txt|selftest\.env(?:\.part)?)`, "", "what a workflow hands on to its steps"},
}

func (r rule) allows(p place, secret string) bool {
	matches := func(pattern, text string) bool { return regexp.MustCompile(`^(?:` + pattern + `)$`).MatchString(text) }
	return r.kind == p.kind && matches(r.secret, secret) && matches(r.name, p.name) && (r.part == "" || matches(r.part, p.part))
}
