// SPDX-License-Identifier: Apache-2.0

//go:build linux

package pkcs11_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/subtle"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/notation-pkcs11/notation-pkcs11/pkcs11"
	"github.com/notation-pkcs11/notation-pkcs11/testenv"
)

// The PIN's own bytes go to the module: once they are wiped, this process has it
// nowhere in its memory.
func TestLoginLeavesNoCopyOfThePIN(t *testing.T) {
	q := newQuirky(t, "C_Login rv 0x30") // CKR_DEVICE_ERROR; the token behind doesn't get it, and so has no copies
	inverted := make([]byte, 200)
	for i := range inverted {
		inverted[i] = byte(rand.Uint32())
	}
	plain := func() []byte { return invert(bytes.Clone(inverted)) }
	given := pkcs11.NewPIN(plain())
	ask := func(context.Context, pkcs11.TokenInfo) (pkcs11.PIN, error) { return given, nil }
	if err := q.signWith(t, "EC-256", pkcs11.KeyOptions{PIN: ask}); err == nil {
		t.Fatal("there was no login")
	}
	if n := q.Calls("C_Login"); n != 1 {
		t.Errorf("%d logins", n)
	}
	given.Wipe()
	if n := timesInMemory(t, inverted); n > 0 {
		t.Errorf("the PIN is in memory %d times", n)
	}
	secret := plain()
	if timesInMemory(t, inverted) == 0 {
		t.Error("a copy that is there is not found")
	}
	runtime.KeepAlive(secret)
}

var ones = bytes.Repeat([]byte{0xff}, 2<<20)

// invert is fast with the race detector, too.
func invert(b []byte) []byte {
	subtle.XORBytes(b, b, ones)
	return b
}

// timesInMemory says how often the inverse of something is in what this process
// can write. The middle of it is looked for: malloc writes to what is freed.
func timesInMemory(t *testing.T, inverted []byte) (times int) {
	t.Helper()
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	memory, err := os.Open("/proc/self/mem")
	if err != nil {
		t.Fatal(err)
	}
	defer memory.Close()
	middle := inverted[len(inverted)/4 : len(inverted)*3/4]
	const step = 1 << 20
	buffer := make([]byte, step+len(middle)-1)
	for line := range strings.Lines(string(maps)) {
		var from, to uint64
		var mode string
		if _, err := fmt.Sscanf(line, "%x-%x %s", &from, &to, &mode); err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(mode, "rw") || to-from > 256<<20 { // such is the race detector's own
			continue
		}
		for at := from; at < to; at += step {
			n, _ := memory.ReadAt(buffer[:min(uint64(len(buffer)), to-at)], int64(at)) // some, such as a device's, can't be read
			times += bytes.Count(invert(buffer[:n]), middle)
			clear(buffer)
		}
	}
	return times
}

func TestAlwaysAuthenticateLogsInBetween(t *testing.T) {
	for _, key := range []string{"EC-256", "RSA-2048"} {
		q := newQuirky(t, "always-authenticate "+testenv.UserPIN, "C_Login delay 10")
		k := mustOpenKey(t, q.module, "pkcs11:token=testenv;object="+key, pkcs11.KeyOptions{PIN: pin(t, q.token.PIN), Sessions: 4})
		var wg sync.WaitGroup
		for range 6 { // which must not come between each other's calls
			wg.Go(func() {
				if _, err := k.SignMessage(nil, []byte("message"), options(k.Public(), crypto.SHA256)); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if n := q.Calls("C_Login"); n != 7 {
			t.Errorf("%d logins for 6 signatures", n)
		}
		k.Close()
	}
}

// Where each login asks, a question goes before each, and what it gave is wiped after it;
// none goes before a mechanism that was refused without one.
func TestPINIsAskedForAtEachLoginAndWiped(t *testing.T) {
	for name, rules := range map[string][]string{
		"for each signature":  {"always-authenticate " + testenv.UserPIN},
		"a refused mechanism": {"always-authenticate " + testenv.UserPIN, "deny-mechanism " + ecdsaDigest, "message-ecdsa"},
		"refused by C_Sign":   {"always-authenticate " + testenv.UserPIN, "deny-at-sign " + ecdsaDigest + " 0x70", "message-ecdsa"},
		"after lost sessions": {"sessions-die 1"},
		"nothing else":        nil,
	} {
		t.Run(name, func(t *testing.T) {
			q := newQuirky(t, rules...)
			var given []pkcs11.PIN
			ask := func(context.Context, pkcs11.TokenInfo) (pkcs11.PIN, error) {
				given = append(given, pkcs11.NewPIN([]byte(q.token.PIN)))
				return given[len(given)-1], nil
			}
			k := mustOpenKey(t, q.module, "pkcs11:token=testenv;object=EC-256", pkcs11.KeyOptions{PIN: ask, AskEachTime: true})
			for range 3 {
				if _, err := k.SignMessage(nil, []byte("message"), crypto.SHA256); err != nil {
					t.Error(err)
				}
			}
			want := map[string]int{"for each signature": 4, "a refused mechanism": 4, "refused by C_Sign": 5, "nothing else": 1}[name]
			if n := q.Calls("C_Login"); n != len(given) || want > 0 && n != want || n == 0 || want == 0 && n < 2 {
				t.Errorf("%d logins and %d questions, want %d", n, len(given), want)
			}
			for _, pin := range given {
				if strings.Trim(string(pin.Reveal()), "\x00") != "" {
					t.Error("a PIN is kept")
				}
			}
			k.Close()
		})
	}
}

// Without an answer nothing is begun on the token, and the next signature asks again; one
// that was refused is followed by no question.
func TestAnswersOfAPersonWhoIsAskedEachTime(t *testing.T) {
	q := newQuirky(t, "always-authenticate "+testenv.UserPIN)
	answers, asked := []string{q.token.PIN, "", q.token.PIN, "wrong-pin"}, 0
	ask := func(context.Context, pkcs11.TokenInfo) (pkcs11.PIN, error) {
		answer := answers[asked]
		if asked++; answer == "" {
			return pkcs11.PIN{}, &pkcs11.Error{Kind: pkcs11.KindPINSource, Message: "no PIN was given"}
		}
		return pkcs11.NewPIN([]byte(answer)), nil
	}
	k := mustOpenKey(t, q.module, "pkcs11:token=testenv;object=EC-256", pkcs11.KeyOptions{PIN: ask, AskEachTime: true})
	defer k.Close()
	for _, want := range []string{"no PIN was given", "", "CKR_PIN_INCORRECT", "CKR_PIN_INCORRECT", "CKR_PIN_INCORRECT"} {
		if _, err := k.SignMessage(nil, []byte("message"), crypto.SHA256); want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
	if n := q.Calls("C_Login"); n != 3 || asked != 4 {
		t.Errorf("%d logins and %d questions", n, asked)
	}
}

func TestNoLoginWhereTheTokenWantsNone(t *testing.T) {
	q := newQuirky(t, "token-flags -"+flagLogin)
	err := q.signWith(t, "EC-256", pkcs11.KeyOptions{PIN: noPIN(t)})
	if !pkcs11.IsKind(err, pkcs11.KindNoKey) { // SoftHSM shows none without a login, whatever its flags say
		t.Errorf("error %v", err)
	}
	if n := q.Calls("C_Login"); n > 0 {
		t.Errorf("%d logins", n)
	}
}

func TestPINPadLogsInWithoutAPIN(t *testing.T) {
	q := newQuirky(t, "token-flags +"+flagPINPad, "pin-pad "+testenv.UserPIN)
	none := func(context.Context, pkcs11.TokenInfo) (pkcs11.PIN, error) {
		return pkcs11.PIN{}, &pkcs11.Error{Kind: pkcs11.KindNoPIN}
	}
	if err := q.signWith(t, "EC-256", pkcs11.KeyOptions{PIN: none}); err != nil {
		t.Error(err)
	}
}

func TestAnotherUserTypeLogsIn(t *testing.T) {
	q := newQuirky(t, "user-type 0x80000001")
	if err := q.signWith(t, "EC-256", pkcs11.KeyOptions{UserType: 0x80000001, PIN: pin(t, q.token.PIN)}); err != nil {
		t.Error(err)
	}
}

func TestAlreadyLoggedInIsSuccess(t *testing.T) {
	q := newQuirky(t, "C_Login after rv 0x100")
	if err := q.signWith(t, "EC-256", pkcs11.KeyOptions{PIN: pin(t, q.token.PIN)}); err != nil {
		t.Error(err)
	}
}

func TestFailedLoginIsNeverFollowedByAnother(t *testing.T) {
	q := newQuirky(t, "sessions-die 1", "C_Login#2 rv 0xa0") // the PIN was changed in between
	k := mustOpenKey(t, q.module, "pkcs11:token=testenv;object=EC-256", pkcs11.KeyOptions{PIN: pin(t, q.token.PIN)})
	if _, err := k.SignMessage(nil, []byte("message"), crypto.SHA256); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := k.SignMessage(nil, []byte("message"), crypto.SHA256); err == nil || !strings.Contains(err.Error(), "C_Login: CKR_PIN_INCORRECT") {
			t.Errorf("error %v", err)
		}
	}
	if n := q.Calls("C_Login"); n != 2 {
		t.Errorf("%d logins", n)
	}
}

func TestPublicKeyLogsInOnlyWhereItMust(t *testing.T) {
	for name, test := range map[string]struct {
		rules  []string
		logins int
	}{
		"public key object": {nil, 0},
		"nothing listed":    {[]string{"hide-before-login"}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			q := newQuirky(t, test.rules...)
			u := parse(t, "pkcs11:token=testenv;object=EC-256")
			token, err := q.module.Token(u)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := token.PublicKey(t.Context(), u, pkcs11.KeyOptions{PIN: pin(t, q.token.PIN)}); err != nil {
				t.Fatal(err)
			}
			if n := q.Calls("C_Login"); n != test.logins {
				t.Errorf("%d logins, want %d", n, test.logins)
			}
		})
	}
}

// A token that shows nothing before a login lacks the PIN, and nothing else.
func TestSearchThatNeedsALoginAsksForThePIN(t *testing.T) {
	q := newQuirky(t, "C_FindObjectsInit rv 0x101") // CKR_USER_NOT_LOGGED_IN
	_, err := openKey(t, q.module, "pkcs11:token=testenv;object=EC-256", pkcs11.KeyOptions{PIN: func(context.Context, pkcs11.TokenInfo) (pkcs11.PIN, error) {
		return pkcs11.PIN{}, &pkcs11.Error{Kind: pkcs11.KindNoPIN, Message: "none"}
	}})
	if !pkcs11.IsKind(err, pkcs11.KindNoPIN) {
		t.Errorf("error %v", err)
	}
}
