// SPDX-License-Identifier: Apache-2.0

package action

import (
	"strings"
	"time"

	"github.com/notaryproject/notation-core-go/signature/cose"
	"github.com/notaryproject/notation-core-go/signature/jws"
	orasregistry "oras.land/oras-go/v2/registry"

	"github.com/notation-pkcs11/notation-pkcs11/action/registry"
	"github.com/notation-pkcs11/notation-pkcs11/action/sign"
)

// builtInPlugin is the name of the plugin that needs no installation.
const builtInPlugin = "pkcs11"

// input is one thing that a user can say.
type input struct {
	name     string // of the input; the flag has - for _
	section  string // of the reference
	fallback string // what it is where a user says nothing
	value    string // what kind of value --help says the flag takes
	// text says what it means: sentences in Markdown, one paragraph.
	text    string
	example string
	list    bool // one a line; the flag can be repeated
	secret  bool
	// set parses a value that is not empty.
	set func(in *inputs, value string) error
}

// flag is the name of the input's command line flag.
func (i input) flag() string { return strings.ReplaceAll(i.name, "_", "-") }

// variable is the name of the environment variable that action.yml hands the
// input over in. The runner sets these for its own kinds of actions alone.
func (i input) variable() string { return "INPUT_" + strings.ToUpper(i.name) }

// Sections of the reference, in its order.
const (
	sectionWhat     = "What to do"
	sectionKey      = "The key"
	sectionSigning  = "Signing"
	sectionTrust    = "Verifying"
	sectionRegistry = "Registries"
	sectionRun      = "The run"
)

// inputTable is the one table of inputs: the flags, the environment, action.yml
// and the reference in docs/action.md follow from it.
var inputTable = []input{
	{
		name: "mode", section: sectionWhat, value: "MODE", fallback: string(modeSignAndVerify),
		text: "What to do. `sign`, `verify` or `sign-and-verify`. `promote`: verify at `source`, copy, and verify at the target. `inspect`: show the signatures without verifying them.",
		set:  choice(func(in *inputs) *mode { return &in.mode }, modeSign, modeVerify, modeSignAndVerify, modePromote, modeInspect),
	},
	{
		name: "target_artifact_reference", section: sectionWhat, value: "REF", list: true,
		text:    "Artifacts to sign or verify, one reference per line. Prefer digests; a tag is resolved once, at the start. `oci-layout:DIR` is an OCI image layout; if it holds several images, add `:NAME` or `@DIGEST`. With `source`: where the artifact goes; its tag is set last. `@FILE` reads the lines of a file. Required.",
		example: "registry.example/app@sha256:…",
		set:     references(func(in *inputs) *[]string { return &in.targets }),
	},
	{
		name: "source", section: sectionWhat, value: "REF", list: true,
		text:    "Where to copy the artifact from before it is signed. Either a reference in a registry, or `oci-layout:PATH` for an OCI image layout (a directory or a tar archive). If the layout holds several images, add `:NAME` or `@DIGEST`. `oci:` and `oci-archive:` mean the same. One source, or one per target. `@FILE` reads the lines of a file.",
		example: "oci-layout:image.tar",
		set:     sources(func(in *inputs) *[]string { return &in.sources }),
	},
	{
		name: "tags", section: sectionWhat, value: "TAG", list: true,
		text:    "Additional tags for the same artifact, one per line: names, or full references, which may name other repositories. The artifact is also copied and signed there. `@FILE` reads the lines of a file.",
		example: "${{ steps.meta.outputs.tags }}",
		set:     tags(func(in *inputs) *[]string { return &in.tags }),
	},
	{
		name: "copy_referrers", section: sectionWhat, value: "true|false|TYPE", fallback: "true", list: true,
		text: "Whether signatures, SBOMs and other referrers are copied with the artifact: `true`, `false`, or the artifact types to copy, one per line. `promote` always copies signatures.",
		set:  referrerTypes(func(in *inputs) *referrerChoice { return &in.copyReferrers }),
	},
	{
		name: "attach", section: sectionWhat, value: "PATH=TYPE", list: true,
		text:    "Files to attach to the artifact, one `PATH=ARTIFACT-TYPE` per line. Each becomes a referrer and is signed like the artifact. A file that is already attached is not attached again.",
		example: "sbom.spdx.json=application/spdx+json",
		set:     attachments(func(in *inputs) *[]attachment { return &in.attach }),
	},
	{
		name: "recursive", section: sectionWhat, fallback: "false",
		text: "For a multi-platform image (an image index), also sign or verify every manifest in it, including nested indexes.",
		set:  boolean(func(in *inputs) *bool { return &in.recursive }),
	},

	{
		name: "key_id", section: sectionKey, value: "URI",
		text:    "The key, as its plugin identifies keys. For `pkcs11`, a PKCS#11 URI. To sign, set this or `key_name`.",
		example: "pkcs11:token=Release;object=signing",
		set:     text(func(in *inputs) *string { return &in.keyID }),
	},
	{
		name: "key_name", section: sectionKey, value: "NAME",
		text: "The name of the key in notation's `signingkeys.json` on this runner: a plugin's key or a key file. Replaces `key_id` and the plugin inputs.",
		set:  text(func(in *inputs) *string { return &in.keyName }),
	},
	{
		name: "pin", section: sectionKey, value: "PIN", secret: true,
		text:    "PIN of the token, for the plugin `pkcs11`. Masked in the log and used in one login attempt. Alternatives: the environment variable `NOTATION_PKCS11_PIN`, or `pin_source` in `plugin_config`.",
		example: "${{ secrets.PIN }}",
		set:     func(in *inputs, value string) error { in.pin = registry.NewSecret(value); return nil },
	},
	{
		name: "module", section: sectionKey, value: "PATH",
		text:    "Absolute path of the PKCS#11 module, for the plugin `pkcs11`. If unset, p11-kit's proxy is loaded.",
		example: "/usr/lib/softhsm/libsofthsm2.so",
		set:     text(func(in *inputs) *string { return &in.module }),
	},
	{
		name: "cert_chain", section: sectionKey, value: "PATH|PEM",
		text: "Certificates that are not on the token, for the plugin `pkcs11`: the path of a PEM file, or the PEM itself. Any order.",
		set:  text(func(in *inputs) *string { return &in.certChain }),
	},
	{
		name: "audit_log", section: sectionKey, value: "PATH",
		text:    "Audit log of the plugin `pkcs11`. Each signature is recorded in this file before it is used, and so is each refused request and failed login. If the line can't be written, the signature is not used. Keep the file on a disk that outlives the run.",
		example: "/var/log/signing/audit.log",
		set:     text(func(in *inputs) *string { return &in.auditLog }),
	},
	{
		name: "plugin_name", section: sectionKey, value: "NAME", fallback: builtInPlugin,
		text: "The signing plugin. `pkcs11` is built in. Any other plugin must be installed in notation on this runner or come from `plugin_url`.",
		set:  checked(func(in *inputs) *string { return &in.pluginName }, checkPluginName),
	},
	{
		name: "plugin_url", section: sectionKey, value: "URL",
		text: "Where to download the plugin named in `plugin_name`: an `https` URL of its executable, or of a `.tar.gz` or `.zip` that contains it. The plugin is installed for this run only.",
		set:  checked(func(in *inputs) *string { return &in.pluginURL }, sign.CheckPluginURL),
	},
	{
		name: "plugin_checksum", section: sectionKey, value: "SHA256",
		text: "SHA-256 of the file at `plugin_url`, in hexadecimal. It is checked before anything in the file is used.",
		set:  checksum(func(in *inputs) *string { return &in.pluginChecksum }),
	},
	{
		name: "plugin_config", section: sectionKey, value: "KEY=VALUE", list: true,
		text:    "Settings for the plugin, one `key=value` per line. Don't put secrets here.",
		example: "timeout=30s",
		set:     pairs(func(in *inputs) *map[string]string { return &in.pluginConfig }),
	},

	{
		name: "signature_format", section: sectionSigning, value: "cose|jws", fallback: "cose",
		text: "Signature envelope of new signatures: `cose` or `jws`.",
		set:  named(func(in *inputs) *string { return &in.envelopeType }, map[string]string{"cose": cose.MediaTypeEnvelope, "jws": jws.MediaTypeEnvelope}),
	},
	{
		name: "user_metadata", section: sectionSigning, value: "KEY=VALUE", list: true,
		text:    "User metadata, one `key=value` per line. When signing, it is added to the signature payload. When verifying, a signature counts only if it contains all of it.",
		example: "commit=${{ github.sha }}",
		set:     userMetadata(func(in *inputs) *map[string]string { return &in.userMetadata }),
	},
	{
		name: "expiry", section: sectionSigning, value: "DURATION",
		text:    "How long new signatures are valid, in whole seconds, such as `8760h`. If unset, they don't expire.",
		example: "8760h",
		set:     duration(func(in *inputs) *time.Duration { return &in.expiry }, time.Second, 100*365*24*time.Hour),
	},
	{
		name: "timestamp_url", section: sectionSigning, value: "URL",
		text: "URL of a timestamping authority (TSA, RFC 3161) that countersigns new signatures. Needs `timestamp_root_cert`.",
		set:  text(func(in *inputs) *string { return &in.timestampURL }),
	},
	{
		name: "timestamp_root_cert", section: sectionSigning, value: "PATH|PEM",
		text: "Root certificate of the TSA: a path, or the PEM itself. With `trusted_certificates`, verification also trusts timestamps from this TSA.",
		set:  text(func(in *inputs) *string { return &in.timestampRootCert }),
	},
	{
		name: "skip_signed", section: sectionSigning, fallback: "false",
		text: "Don't sign an artifact that already has a valid signature by this key with the same `user_metadata`. To learn the key's certificate, a run may make one signature that it doesn't push.",
		set:  boolean(func(in *inputs) *bool { return &in.skipSigned }),
	},
	{
		name: "renew_within", section: sectionSigning, value: "DURATION",
		text:    "With `skip_signed`: sign again if the artifact's last such signature ends within this duration and the new one ends later. If the new one would end no later, a warning names the certificate to renew. Must be less than `expiry`.",
		example: "1080h",
		set:     duration(func(in *inputs) *time.Duration { return &in.renewWithin }, time.Second, 100*365*24*time.Hour),
	},

	{
		name: "trusted_certificates", section: sectionTrust, value: "PATH|PEM",
		text: "Certificates to trust, usually roots: PEM, or paths, one per line. With `trusted_identities`, verification needs no trust policy and no trust store.",
		set:  text(func(in *inputs) *string { return &in.trustedCertificates }),
	},
	{
		name: "trusted_identities", section: sectionTrust, value: "IDENTITY", list: true,
		text:    "With `trusted_certificates`: the signers to trust, one `x509.subject:` with a distinguished name per line, as in a trust policy. If unset or `*`, any signer whose certificate chains to one of `trusted_certificates` is trusted.",
		example: "x509.subject: C=US, ST=WA, O=Example",
		set:     lines(func(in *inputs) *[]string { return &in.trustedIdentities }),
	},
	{
		name: "verification_level", section: sectionTrust, value: "LEVEL",
		text: "With `trusted_certificates`: `strict` (default), `permissive` or `audit`.",
		set:  choice(func(in *inputs) *string { return &in.verificationLevel }, "strict", "permissive", "audit"),
	},
	{
		name: "trust_policy", section: sectionTrust, value: "PATH|JSON",
		text: "The trust policy: the path of a `trustpolicy.json`, or the JSON itself. If this and `trusted_certificates` are unset, notation's own on this runner is used.",
		set:  text(func(in *inputs) *string { return &in.trustPolicy }),
	},
	{
		name: "trust_store", section: sectionTrust, value: "PATH",
		text: "The directory of the trust store that the policy names: the one that contains `x509`. If unset, notation's own on this runner is used.",
		set:  text(func(in *inputs) *string { return &in.trustStore }),
	},
	{
		name: "trust_policy_scope", section: sectionTrust, value: "REPOSITORY",
		text:    "The repository whose trust policy statement applies to the artifacts in an OCI image layout, as a registry scope names it. If unset, the statement with scope `*` applies.",
		example: "registry.example/app",
		set:     repository(func(in *inputs) *orasregistry.Reference { return &in.trustPolicyScope }),
	},
	{
		name: "required_referrers", section: sectionTrust, value: "TYPE", list: true,
		text:    "Artifact types, one per line. Verification fails unless the artifact, or each of its platforms, has a referrer of each type that is itself signed and valid under the policy.",
		example: "application/spdx+json",
		set:     artifactTypes(func(in *inputs) *[]string { return &in.requiredReferrers }),
	},
	{
		name: "max_signatures", section: sectionTrust, value: "N", fallback: "100",
		text: "How many signatures of an artifact are verified.",
		set:  number(func(in *inputs) *int { return &in.maxSignatures }, 1, 10_000),
	},
	{
		name: "crl_files", section: sectionTrust, value: "PATH", list: true,
		text:    "Paths of local certificate revocation lists (CRLs), one per line, each file with one CRL in PEM or DER. Until its next update, each replaces the CRL at the URL in the certificate, so that revocation can be checked offline. Other CRLs are downloaded.",
		example: "ca.crl",
		set:     lines(func(in *inputs) *[]string { return &in.crlFiles }),
	},

	{
		name: "registry_username", section: sectionRegistry, value: "NAME",
		text: "User name for the registries. If unset, Docker's credentials on this runner are used, including credential helpers.",
		set:  text(func(in *inputs) *string { return &in.registryUsername }),
	},
	{
		name: "registry_password", section: sectionRegistry, value: "PASSWORD", secret: true,
		text:    "Password or token of that user.",
		example: "${{ secrets.GITHUB_TOKEN }}",
		set:     func(in *inputs, value string) error { in.registryPassword = registry.NewSecret(value); return nil },
	},
	{
		name: "source_registry_username", section: sectionRegistry, value: "NAME",
		text: "User name for the registry of `source`. If unset, `registry_username` is used where `source` is on the target's registry, and Docker's credentials on this runner otherwise.",
		set:  text(func(in *inputs) *string { return &in.sourceUsername }),
	},
	{
		name: "source_registry_password", section: sectionRegistry, value: "PASSWORD", secret: true,
		text:    "Password or token of that user. `registry_password` is never sent to the registry of `source`, unless that is the target's registry.",
		example: "${{ secrets.STAGING_TOKEN }}",
		set:     func(in *inputs, value string) error { in.sourcePassword = registry.NewSecret(value); return nil },
	},
	{
		name: "insecure_registries", section: sectionRegistry, value: "HOST", list: true,
		text:    "Registries to contact over plain HTTP, one `host:port` per line. `host` alone covers all its ports. `localhost` is always allowed.",
		example: "registry.internal:5000",
		set:     hosts(func(in *inputs) *[]string { return &in.insecureRegistries }),
	},
	{
		name: "token_servers", section: sectionRegistry, value: "HOST", list: true,
		text:    "Token servers of other domains that may get the registry's password, one `host` or `host:port` per line. A server of the registry's own domain is always allowed.",
		example: "auth.example.net",
		set:     hosts(func(in *inputs) *[]string { return &in.tokenServers }),
	},
	{
		name: "force_referrers_tag", section: sectionRegistry, value: "auto|true|false", fallback: "auto",
		text: "How signatures are linked to the artifact. `auto` (same as `false`): the Referrers API, with the referrers tag schema as fallback. `true`: always the tag schema.",
		set:  choice(func(in *inputs) *string { return &in.referrersTag }, "auto", "true", "false"),
	},

	{
		name: "concurrency", section: sectionRun, value: "N", fallback: "24",
		text: "How many artifacts are processed at once.",
		set:  number(func(in *inputs) *int { return &in.concurrency }, 1, 256),
	},
	{
		name: "sessions", section: sectionRun, value: "N", fallback: "32",
		text: "The most sessions with a token, for the plugin `pkcs11`: 1 to 32. A session makes one signature at a time; sessions are opened while signatures wait and the token grants them. If others need the token, set it lower.",
		set:  number(func(in *inputs) *int { return &in.sessions }, 1, 32),
	},
	{
		name: "timeout", section: sectionRun, value: "DURATION", fallback: "5m",
		text: "How long resolving, signing or verifying one artifact may take, such as `90s`.",
		set:  duration(func(in *inputs) *time.Duration { return &in.timeout }, time.Second, 24*time.Hour),
	},
	{
		name: "warn_within", section: sectionRun, value: "DURATION", fallback: "720h",
		text: "Warn about each artifact that stops verifying within this duration, because its last signature or a certificate expires. `0`: never. In mode `sign`, signatures are evaluated as by a verifier with `verification_level` `strict`.",
		set:  duration(func(in *inputs) *time.Duration { return &in.warnWithin }, 0, 100*365*24*time.Hour),
	},
	{
		name: "report", section: sectionRun, value: "PATH",
		text: "Path of the JSON report. If unset, a file in the runner's temporary directory, whose path is an output of the step. Below the workspace, the path must not contain symbolic links.",
		set:  text(func(in *inputs) *string { return &in.report }),
	},
}
