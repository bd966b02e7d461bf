// SPDX-License-Identifier: Apache-2.0

//go:build unix

package registry

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// helper puts a credential helper of a script into the path, and returns a config of
// Docker's that names it for a host.
func helper(t *testing.T, host, script string) (config string) {
	t.Helper()
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "docker-credential-test"), []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", folder+":"+os.Getenv("PATH"))
	config = filepath.Join(folder, "config.json")
	if err := os.WriteFile(config, fmt.Appendf(nil, `{"credHelpers":{%q:"test"}}`, host), 0o600); err != nil {
		t.Fatal(err)
	}
	return config
}

func TestCredentialHelpers(t *testing.T) {
	host, _ := locked(t, "robot", "pass")
	for _, c := range []struct{ name, script, says string }{
		{"good", `read address; echo "{\"ServerURL\":\"$address\",\"Username\":\"robot\",\"Secret\":\"pass\"}"`, ""},
		{"asked with the address", `read address; [ "$1" = get ] && [ "$address" = ` + host + ` ] && echo '{"Username":"robot","Secret":"pass"}'`, ""},
		{"nothing there", `echo credentials not found in native keychain; exit 1`, "has none for " + host},
		{"an error", `echo the keychain is locked; exit 1`, "the keychain is locked"},
		{"no JSON", `echo hello`, "docker-credential-test"},
		{"too much", `cat /dev/zero`, "the credential store of Docker ("},
	} {
		t.Run(c.name, func(t *testing.T) {
			client := New(Options{CredentialsFile: helper(t, host, c.script)})
			defer client.Close()
			_, err := client.Resolve(t.Context(), host+"/app:v1")
			if err != nil && len(err.Error()) > 4<<10 {
				t.Fatalf("the error has %d bytes", len(err.Error()))
			}
			if (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
				t.Errorf("error %v", err)
			}
		})
	}
}

// A helper that hangs, with a child, holds up neither a request that has to end nor the
// end of the run.
func TestCredentialHelperThatHangs(t *testing.T) {
	host, _ := locked(t, "robot", "pass")
	client := New(Options{CredentialsFile: helper(t, host, "sleep 600 & wait")})
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	start := time.Now()
	if _, err := client.Resolve(ctx, host+"/app:v1"); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "credential helper") {
		t.Errorf("error %v", err)
	}
	client.Close()
	if took := time.Since(start); took > helperLimit/2 {
		t.Errorf("it took %v", took)
	}
}
