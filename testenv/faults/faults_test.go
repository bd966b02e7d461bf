// SPDX-License-Identifier: Apache-2.0

package faults_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"unsafe"

	"github.com/miekg/pkcs11"

	"github.com/notation-pkcs11/notation-pkcs11/testenv/faults"
)

func TestWithoutRulesNothingChanges(t *testing.T) {
	t.Parallel()
	module, token := newModule(t)
	slot := strconv.FormatUint(uint64(token.Slot), 10)
	for _, args := range [][]string{
		{"--show-info"},
		{"--list-slots"},
		{"--list-mechanisms", "--slot", slot},
		{"--list-objects", "--slot", slot},
		{"--list-objects", "--slot", slot, "--login", "--pin", token.PIN},
		{"--test", "--slot", slot, "--login", "--pin", token.PIN},
	} {
		run := func(path string) string {
			cmd := exec.Command("pkcs11-tool", append(args, "--module", path)...)
			cmd.Env = append(append(os.Environ(), module.Env()...), token.Env()...)
			out, _ := cmd.CombinedOutput() // --test fails on SoftHSM's own account
			return string(out)
		}
		direct := run(token.Store.Module)
		if direct == "" {
			t.Errorf("pkcs11-tool %s says nothing", args[0])
		}
		if got := run(module.Path); got != direct {
			t.Errorf("pkcs11-tool %s says\n%s\nand without the module\n%s", args[0], got, direct)
		}
	}
	if n := module.Calls("C_Sign"); n == 0 {
		t.Error("the module was not used")
	}
}

func TestJournalHasCallsInOrderWithTheirArguments(t *testing.T) {
	c := start(t)
	session := c.open()
	wantRV(t, "C_Login", c.Login(session, pkcs11.CKU_USER, "wrong PIN"), pkcs11.CKR_PIN_INCORRECT)
	wantOK(t, "C_Login", c.Login(session, pkcs11.CKU_USER, c.token.PIN))
	key := c.privateKey(session, "RSA-2048")
	_, err := c.sign(session, key, pss(pkcs11.CKM_RSA_PKCS_PSS, pkcs11.CKM_SHA256, pkcs11.CKG_MGF1_SHA256, 32), digest)
	wantOK(t, "C_Sign", err)
	wantOK(t, "C_Finalize", c.Finalize())

	want := []struct {
		name, detail string
		rv           uint
	}{
		{"load", "", 0},
		{"C_GetFunctionList", "", 0},
		{"C_Initialize", "flags=0x2", 0},
		{"C_GetSlotList", "present=1 gave=2", 0},
		{"C_GetSlotList", "present=1 gave=2", 0},
		{"C_OpenSession", "slot=SLOT flags=0x4 gave=1", 0},
		{"C_Login", "session=1 user=0x1 pin-length=9", pkcs11.CKR_PIN_INCORRECT},
		{"C_Login", "session=1 user=0x1 pin-length=15", 0},
		{"C_FindObjectsInit", "session=1 attributes=0x0=0x3,0x3", 0},
		{"C_FindObjects", "session=1 max=100 gave=1", 0},
		{"C_FindObjectsFinal", "session=1", 0},
		{"C_SignInit", "session=1 key=KEY mechanism=0xd hash=0x250 mgf=0x2 salt=32", 0},
		{"C_Sign", "session=1 length=32 length-only gave=256", 0},
		{"C_Sign", "session=1 length=32 gave=256", 0},
		{"C_Finalize", "", 0},
	}
	calls, err := c.module.Journal()
	if err != nil {
		t.Fatal(err)
	}
	if len(calls) != len(want) {
		t.Fatalf("journal has %d calls, want %d: %v", len(calls), len(want), calls)
	}
	handles := strings.NewReplacer("SLOT", strconv.Itoa(int(c.token.Slot)), "KEY", strconv.Itoa(int(key)))
	for i, call := range calls {
		if call.PID != os.Getpid() || !call.Returned || call.RV != want[i].rv ||
			call.Name != want[i].name || call.Detail != handles.Replace(want[i].detail) {
			t.Errorf("call %d is %+v, want %+v", i, call, want[i])
		}
	}
	if n := c.module.Calls("C_Login"); n != 2 {
		t.Errorf("C_Login was called %d times, want 2", n)
	}
}

func TestJournalHasNoPIN(t *testing.T) {
	c := start(t)
	c.openLoggedIn()
	var path string
	for _, variable := range c.module.Env() {
		if value, ok := strings.CutPrefix(variable, "FAULTS_JOURNAL="); ok {
			path = value
		}
	}
	journal, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(journal), c.token.PIN) {
		t.Errorf("journal has the PIN: %s", journal)
	}
}

func TestJournalEscapesInitArgs(t *testing.T) {
	c := load(t, "C_Initialize rv 0x6")
	reserved := []byte("a \"b\"\n -> 0x0\x00")
	err := c.Initialize(pkcs11.InitializeWithReserved(unsafe.Pointer(&reserved[0])))
	wantRV(t, "C_Initialize", err, pkcs11.CKR_FUNCTION_FAILED)
	calls, err := c.module.Journal()
	if err != nil {
		t.Fatal(err)
	}
	if got, want := calls[len(calls)-1].Detail, `flags=0x2 reserved="a \x22b\x22\x0a -\x3e 0x0"`; got != want {
		t.Errorf("detail is %s, want %s", got, want)
	}
}

func TestRulesThatAreNone(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ rule, want string }{
		{"C_Sgin hang", "no such rule or function"},
		{"hide-befor-login", "no such rule or function"},
		{"C_Sign", "no such action"},
		{"C_Sign hnag", "no such action"},
		{"C_Sign#0 hang", "not the number of a call"},
		{"C_Sign#x hang", "not the number of a call"},
		{"C_Sign# hang", "not the number of a call"},
		{"C_Sign hang 3", "a word too many"},
		{"C_Sign rv", "the action needs a number"},
		{"C_Sign rv CKR_OK", "the action needs a number"},
		{"C_Sign rv 0x", "the action needs a number"},
		{"C_Sign rv -1", "the action needs a number"},
		{"C_Sign rv 0x10000000000000000", "the action needs a number"},
		{"C_Sign exit 256", "not an exit status"},
		{"C_Login garble", "the function has no such output"},
		{"load rv 0x5", "there is no answer to alter"},
		{"unload after crash", "there is no answer to alter"},
		{"token-flags", "flags are missing"},
		{"token-flags 0x4", "not flags to set or to clear"},
		{"hide", "not a class of objects"},
		{"hide certificate", "not a class of objects"},
		{"hide-attribute private CKA_ID", "not the number of an attribute"},
		{"set-attribute private 0x108 0", "the value is not hexadecimal"},
		{"set-attribute private 0x108 " + strings.Repeat("00", 513), "the value is too long"},
		{"fail-attribute private 0x108", "not the return value of a failure"},
		{"fail-attribute private 0x108 0x0", "not the return value of a failure"},
		{strings.Repeat("fail-attribute cert 1 5\n", 65), "too many rules of this kind"},
		{"ec-point cooked", "not a form of CKA_EC_POINT"},
		{"mechanisms", "mechanisms are missing"},
		{"mechanisms ,", "mechanisms are missing"},
		{"mechanisms 0x1," + strings.Repeat("0x2,", 64), "too many mechanisms"},
		{"deny-mechanism", "not the number of a mechanism"},
		{"deny-at-sign 0xd", "not a return value"},
		{"always-authenticate", "a text is missing"},
		{"pin-pad " + strings.Repeat("1", 256), "the text is too long"},
		{"max-sessions 0", "not a number above 0"},
		{"sessions-die", "not a number above 0"},
		{"read-write-only 0x0", "not the return value of a failure"},
		{"user-type so", "not a user type"},
		{"cant-lock please", "a word too many"},
		{"cant-lock\ncant-lock", "given twice"},
		{"# C_Sign\n\n  hide cert\nC_Sign", `rules:4: "C_Sign": no such action`},
		{"max-sessions many", "the form is: max-sessions N"},
		{strings.Repeat("C_Sign delay 1\n", 65), "too many rules of this kind"},
		{strings.Repeat("deny-mechanism 1\n", 65), "too many rules of this kind"},
		{strings.Repeat("hide-attribute cert 1\n", 65), "too many rules of this kind"},
		{strings.Repeat("hide-attribute cert 1\n", 64) + "always-authenticate 1", "too many rules of this kind"},
		{strings.Repeat("x", 100_000), "longer than 65536 bytes"},
		{strings.Repeat("x", 60_000), "no such rule or function"},
		{"C_Sign\x00 hang", "has a NUL byte"},
	} {
		_, err := faults.New(t.TempDir(), "/no/module", test.rule)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("rule %.60q: error %v, want %q", test.rule, err, test.want)
		}
	}
}

func TestRulesThatAreSome(t *testing.T) {
	t.Parallel()
	for _, rule := range []string{
		"", "# C_Sgin hang", "  cant-lock  ", "\tC_Sign\thang", "C_Sign#18446744073709551615 rv 0xffffffffffffffff",
		"token-flags +0x1 -2 +0x4", "set-attribute cert 0x101", "set-attribute cert 0x3 " + strings.Repeat("ff", 512),
		"deny-mechanism 13", "pin-pad a PIN with blanks # and this", "read-write-only", "C_Sign after rv 1\nC_Sign after rv 2",
	} {
		if _, err := faults.New(t.TempDir(), "/no/module", rule); err != nil {
			t.Error(err)
		}
	}
}

// Whoever writes rules without New is told as well, and tests that look into the
// journal fail.
func TestInitializeFailsOnRulesThatAreNone(t *testing.T) {
	t.Parallel()
	module, token := newModule(t)
	for _, variable := range module.Env() {
		if path, ok := strings.CutPrefix(variable, "FAULTS_RULES="); ok {
			if err := os.WriteFile(path, []byte("C_Initialize rv 0x30\nC_Sgin hang\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	got := runChild(t, module, token)
	if !strings.Contains(got.stderr, `rules:2: "C_Sgin hang": no such rule or function`) {
		t.Errorf("stderr is %q", got.stderr)
	}
	if !strings.Contains(got.stderr, "C_Initialize: pkcs11: 0x5: CKR_GENERAL_ERROR") {
		t.Errorf("stderr is %q", got.stderr)
	}
	if _, err := module.Journal(); err == nil || !strings.Contains(err.Error(), `"C_Sgin hang"`) {
		t.Errorf("journal: error %v", err)
	}
}

func TestModuleBehindThatIsNone(t *testing.T) {
	t.Parallel()
	_, token := newModule(t)
	for _, test := range []struct{ behind, want string }{
		{"/no/module.so", "cannot open shared object file"},
		{"libc.so.6", "no PKCS#11 module"},
	} {
		module, err := faults.New(t.TempDir(), test.behind)
		if err != nil {
			t.Fatal(err)
		}
		got := runChild(t, module, token)
		if !strings.Contains(got.stderr, test.want) || !strings.Contains(got.stderr, "CKR_GENERAL_ERROR") {
			t.Errorf("module behind is %s: stderr is %q, want %q", test.behind, got.stderr, test.want)
		}
		if _, err := module.Journal(); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("module behind is %s: journal: error %v", test.behind, err)
		}
	}
}

// The tests of this package name each rule of the parser's tables.
func TestEveryRuleIsTested(t *testing.T) {
	t.Parallel()
	parser, err := os.ReadFile("module/rules.c")
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	var tests strings.Builder
	for _, file := range files {
		if file == "faults_test.go" {
			continue // its rules are parsed alone
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		tests.Write(text)
	}
	names := regexp.MustCompile(`(?m)^\t(?:\{|FLAG\()"([a-z-]+)", `).FindAllStringSubmatch(string(parser), -1)
	if len(names) < 30 {
		t.Fatalf("found %d rules and actions in rules.c", len(names))
	}
	for _, name := range names {
		if !regexp.MustCompile("[\"\n ]" + name[1] + "[\" ]").MatchString(tests.String()) {
			t.Errorf("no test has the rule or action %s", name[1])
		}
	}
}
