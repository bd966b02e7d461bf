// SPDX-License-Identifier: Apache-2.0

package leak

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// odd is a secret that each way of writing changes.
const odd = "p%7'n\"ä<&+/\\ \t9-q"

func TestFinderFindsWhatProgramsWrite(t *testing.T) {
	f := NewFinder(Secret{"the PIN", odd})
	request, err := http.NewRequest(http.MethodGet, "http://localhost/?"+url.Values{"pin": {odd}}.Encode(), nil)
	if err != nil {
		t.Fatal(err)
	}
	request.SetBasicAuth("robot", odd)
	document, err := json.Marshal(map[string]string{"pin": "x" + odd + "x"})
	if err != nil {
		t.Fatal(err)
	}
	for text, form := range map[string]string{
		"a" + odd + "b":                                          "as it is",
		hex.EncodeToString([]byte("x" + odd)):                    "hex",
		fmt.Sprintf("%X", odd):                                   "hex",
		base64.StdEncoding.EncodeToString([]byte(odd)):           "base64",
		base64.StdEncoding.EncodeToString([]byte("1" + odd)):     "base64",
		base64.RawURLEncoding.EncodeToString([]byte("12" + odd)): "base64",
		request.Header.Get("Authorization"):                      "base64",
		request.URL.String():                                     "URL",
		string(document):                                         "JSON",
		fmt.Sprintf("%+q", odd):                                  "Go",
		"::add-mask::" + strings.ReplaceAll(odd, "%", "%25"):     "a workflow command",
		"p\x00%\x007\x00'\x00n\x00\"\x00\xe4\x00<\x00&\x00+\x00/\x00\\\x00 \x00\t\x009\x00-\x00q\x00": "UTF-16",
	} {
		if hits := f.Find([]byte(text)); !slices.Contains(hits, Hit{"the PIN", form}) {
			t.Errorf("%q: found %v, want %s", text, hits, form)
		}
	}
	if hits := f.Find([]byte(odd[:len(odd)-1])); len(hits) > 0 {
		t.Errorf("found %v in a part of it", hits)
	}
}

// Whatever way a secret takes out of a process, or of one that it starts, is seen.
func TestTraceSeesEachWayOut(t *testing.T) {
	const secret = "secret-4Qv7"
	dir := t.TempDir()
	for name, test := range map[string]struct {
		script string // in bash, $S is the secret, in a variable that is not handed on
		want   string // a part of the only leak
	}{
		"nothing":                     {`: ${#S}`, ""},
		"an argument":                 {`/bin/true "$S"`, "execve of true secret-4Qv7: argument"},
		"an environment":              {`NAME=$S /bin/true`, "execve of true: environment NAME"},
		"a file":                      {`echo $S >file`, "/file"},
		"a file that is deleted":      {`echo $S >file; rm file`, "/file"},
		"an open file without a name": {`exec 7>file; rm file; echo $S >&7`, "/file"},
		"the name of a file":          {`: >$S`, "path"},
		"a pipe":                      {`echo $S | cat >/dev/null`, "pipe:"},
		"two pieces":                  {`echo -n ${S:0:4} >file; echo -n ${S:4} >>file`, "/file"},
		"a socket":                    {`echo $S >/dev/udp/127.0.0.1/9`, "UDP:"},
		"a grandchild":                {`(setsid sh -c 'echo $0 | cat >/dev/null' $S)`, "argument"},
		"base64":                      {`base64 <<<user:$S >file`, "(base64) in write of base64"},
	} {
		t.Run(name, func(t *testing.T) {
			var digits strings.Builder // which no finder knows
			for _, c := range []byte(secret) {
				fmt.Fprintf(&digits, `\x%02x`, c)
			}
			cmd := exec.Command("/bin/bash", "-c", "S=$'"+digits.String()+"'; "+test.script)
			cmd.Env, cmd.Dir = []string{"PATH=" + os.Getenv("PATH")}, dir
			result, err := Trace(t.Context(), cmd, NewFinder(Secret{"the secret", secret}), nil)
			if err != nil {
				t.Fatal(err)
			}
			found := fmt.Sprint(result.Leaks)
			if len(result.Leaks) == 0 != (test.want == "") || !strings.Contains(found, test.want) {
				t.Errorf("found %s, want %q", found, test.want)
			}
		})
	}
}
