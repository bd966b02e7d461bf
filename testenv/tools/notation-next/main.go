// SPDX-License-Identifier: Apache-2.0

// Command notation-next signs and verifies with the main branch of notation-go, which
// signs blobs and writes signature manifests that have an artifact type. The notation
// CLI of that branch can't be built as a Go module, so this is its commands in short:
//
//	notation-next sign FORMAT KEY-ID REFERENCE [KEY=VALUE]...
//	notation-next verify REFERENCE
//	notation-next blob-sign FORMAT KEY-ID FILE [KEY=VALUE]...
//	notation-next blob-verify FORMAT FILE
//
// FORMAT is cose or jws, KEY=VALUE is plugin config of the plugin pkcs11, and the
// signature of a blob is in FILE.FORMAT.sig. Plugins, trust store and trust policies are
// in notation's configuration directory. Registries are asked over plain HTTP.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/notaryproject/notation-core-go/signature/cose"
	"github.com/notaryproject/notation-core-go/signature/jws"
	"github.com/notaryproject/notation-go"
	"github.com/notaryproject/notation-go/dir"
	"github.com/notaryproject/notation-go/plugin"
	"github.com/notaryproject/notation-go/registry"
	"github.com/notaryproject/notation-go/signer"
	"github.com/notaryproject/notation-go/verifier"
	"oras.land/oras-go/v2/registry/remote"
)

var mediaTypes = map[string]string{"cose": cose.MediaTypeEnvelope, "jws": jws.MediaTypeEnvelope}

// commands are the commands, with how many arguments each takes at least.
var commands = map[string]struct {
	arguments int
	run       func(context.Context, []string) error
}{
	"sign":        {3, sign},
	"verify":      {1, verify},
	"blob-sign":   {3, signBlob},
	"blob-verify": {2, verifyBlob},
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "notation-next:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 0 {
		return errors.New("no command")
	}
	command, known := commands[args[0]]
	if !known || len(args)-1 < command.arguments {
		return fmt.Errorf("%q is no command, or lacks arguments", args)
	}
	return command.run(context.Background(), args[1:])
}

func sign(ctx context.Context, args []string) error {
	s, err := pluginSigner(ctx, args[1], args[3:])
	if err != nil {
		return err
	}
	repository, err := open(args[2])
	if err != nil {
		return err
	}
	_, _, err = notation.SignOCI(ctx, s, repository, notation.SignOptions{
		SignerSignOptions: notation.SignerSignOptions{SignatureMediaType: mediaTypes[args[0]]},
		ArtifactReference: args[2],
	})
	return err
}

func verify(ctx context.Context, args []string) error {
	v, err := verifier.NewOCIVerifierFromConfig()
	if err != nil {
		return err
	}
	repository, err := open(args[0])
	if err != nil {
		return err
	}
	_, _, err = notation.Verify(ctx, v, repository, notation.VerifyOptions{ArtifactReference: args[0], MaxSignatureAttempts: 10})
	return err
}

// blobType is what notation takes a blob for unless it is told.
const blobType = "application/octet-stream"

func signBlob(ctx context.Context, args []string) error {
	s, err := pluginSigner(ctx, args[1], args[3:])
	if err != nil {
		return err
	}
	blob, err := os.Open(args[2])
	if err != nil {
		return err
	}
	defer blob.Close()
	envelope, _, err := notation.SignBlob(ctx, s, blob, notation.SignBlobOptions{
		SignerSignOptions: notation.SignerSignOptions{SignatureMediaType: mediaTypes[args[0]]},
		ContentMediaType:  blobType,
	})
	if err != nil {
		return err
	}
	return os.WriteFile(signatureFile(args[2], args[0]), envelope, 0o600)
}

func verifyBlob(ctx context.Context, args []string) error {
	v, err := verifier.NewBlobVerifierFromConfig()
	if err != nil {
		return err
	}
	blob, err := os.Open(args[1])
	if err != nil {
		return err
	}
	defer blob.Close()
	envelope, err := os.ReadFile(signatureFile(args[1], args[0]))
	if err != nil {
		return err
	}
	_, _, err = notation.VerifyBlob(ctx, v, blob, envelope, notation.VerifyBlobOptions{
		BlobVerifierVerifyOptions: notation.BlobVerifierVerifyOptions{SignatureMediaType: mediaTypes[args[0]]},
		ContentMediaType:          blobType,
	})
	return err
}

func signatureFile(blob, format string) string { return blob + "." + format + ".sig" }

// pluginSigner signs with a key of the plugin pkcs11.
func pluginSigner(ctx context.Context, keyID string, settings []string) (*signer.PluginSigner, error) {
	config := map[string]string{}
	for _, setting := range settings {
		key, value, _ := strings.Cut(setting, "=")
		config[key] = value
	}
	pkcs11, err := plugin.NewCLIManager(dir.PluginFS()).Get(ctx, "pkcs11")
	if err != nil {
		return nil, err
	}
	return signer.NewPluginSigner(pkcs11, keyID, config)
}

func open(reference string) (registry.Repository, error) {
	repository, err := remote.NewRepository(reference)
	if err != nil {
		return nil, err
	}
	repository.PlainHTTP = true
	return registry.NewRepository(repository), nil
}
