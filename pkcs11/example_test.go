// SPDX-License-Identifier: Apache-2.0

package pkcs11_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"log"
	"os"
	"strings"

	"github.com/notation-pkcs11/notation-pkcs11/pkcs11"
	"github.com/notation-pkcs11/notation-pkcs11/testenv"
)

// From a vendor's module to a signature.
func Example() {
	path, secret, remove := exampleToken()
	defer remove()

	uri, err := pkcs11.ParseURI("pkcs11:token=testenv;object=EC-256")
	if err != nil {
		log.Fatal(err)
	}
	module, err := pkcs11.Load(path, pkcs11.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer module.Close()
	token, err := module.Token(uri)
	if err != nil {
		log.Fatal(err)
	}
	key, err := token.Key(context.Background(), uri, pkcs11.KeyOptions{
		// Asked only if the token wants a login, and once.
		PIN: func(context.Context, pkcs11.TokenInfo) (pkcs11.PIN, error) {
			return pkcs11.NewPIN([]byte(secret)), nil
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer key.Close()

	digest := sha256.Sum256([]byte("hello"))
	signature, err := key.Sign(rand.Reader, digest[:], crypto.SHA256)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(ecdsa.VerifyASN1(key.Public().(*ecdsa.PublicKey), digest[:], signature))
	// Output: true
}

// A key is a crypto.Signer, so the standard library makes certificate requests
// with it.
func ExampleKey() {
	path, secret, remove := exampleToken()
	defer remove()
	module, err := pkcs11.Load(path, pkcs11.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer module.Close()
	uri, err := pkcs11.ParseURI("pkcs11:token=testenv;object=EC-256")
	if err != nil {
		log.Fatal(err)
	}
	token, err := module.Token(uri)
	if err != nil {
		log.Fatal(err)
	}
	key, err := token.Key(context.Background(), uri, pkcs11.KeyOptions{
		PIN: func(context.Context, pkcs11.TokenInfo) (pkcs11.PIN, error) {
			return pkcs11.NewPIN([]byte(secret)), nil
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer key.Close()

	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject: pkix.Name{CommonName: "Release signing"},
	}, key)
	if err != nil {
		log.Fatal(err)
	}
	request, err := x509.ParseCertificateRequest(der)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(request.Subject, request.SignatureAlgorithm, request.CheckSignature())
	// Output: CN=Release signing ECDSA-SHA256 <nil>
}

func ExampleParseURI() {
	uri, err := pkcs11.ParseURI("pkcs11:token=My%20token;object=signing;id=%01%a7?pin-source=file:/run/secrets/pin")
	if err != nil {
		log.Fatal(err)
	}
	token, _ := uri.Value("token")
	id, _ := uri.Value("id")
	fmt.Printf("%q %x\n", token, id)
	fmt.Println(uri.Without("pin-source"))

	_, err = pkcs11.ParseURI("pkcs11:token=Release?pin-value=1234")
	fmt.Println(pkcs11.IsKind(err, pkcs11.KindURI))
	// Output:
	// "My token" 01a7
	// pkcs11:token=My%20token;object=signing;id=%01%A7
	// true
}

func ExampleIsKind() {
	path, _, remove := exampleToken()
	defer remove()
	module, err := pkcs11.Load(path, pkcs11.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer module.Close()
	uri, err := pkcs11.ParseURI("pkcs11:token=Release")
	if err != nil {
		log.Fatal(err)
	}
	_, err = module.Token(uri)
	fmt.Println(pkcs11.IsKind(err, pkcs11.KindNoToken))
	// Output: true
}

// exampleToken makes a SoftHSM token with a key EC-256, and returns SoftHSM's
// module, the token's PIN, and a function that deletes the token.
func exampleToken() (module, pin string, remove func()) {
	hsm, err := testenv.NewSoftHSM()
	if err != nil {
		log.Fatal(err)
	}
	token, err := hsm.AddStandardToken()
	if err != nil {
		log.Fatal(err)
	}
	for _, variable := range hsm.Env() {
		name, value, _ := strings.Cut(variable, "=")
		if err := os.Setenv(name, value); err != nil {
			log.Fatal(err)
		}
	}
	return hsm.Module, token.PIN, func() {
		if err := hsm.Close(); err != nil {
			log.Print(err)
		}
	}
}
