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
	sectionWhat     = "Mode and artifacts"
	sectionKey      = "Key and plugin"
	sectionSigning  = "Signing"
	sectionTrust    = "Verifying"
	sectionRegistry = "Registry access"
	sectionRun      = "Limits and report"
)

// inputTable is the one table of inputs: the flags, the environment, action.yml
// and the reference in docs/action.md follow from it.
var inputTable = []input{
	{
		name: "mode", section: sectionWhat, value: "MODE", fallback: string(modeSignAndVerify),
		text: "What the run does: `sign`, `verify`, `sign-and-verify`, `promote` or `inspect`. `promote` verifies at `source`, copies, and verifies at the target. `inspect` shows the signatures without verifying them.",
		set:  choice(func(in *inputs) *mode { return &in.mode }, modeSign, modeVerify, modeSignAndVerify, modePromote, modeInspect),
	},
	{
		name: "target_artifact_reference", section: sectionWhat, value: "REF", list: true,
		text:    "References of the artifacts, one per line. Prefer digests: a tag is resolved once, at the start. `oci-layout:DIR` is an OCI image layout; if it contains several images, add `:NAME` or `@DIGEST`. With `source`, the artifact is copied to this reference, and its tag is set last. A line `@FILE` means the lines of that file. Required.",
		example: "registry.example/app@sha256:…",
		set:     references(func(in *inputs) *[]string { return &in.targets }),
	},
	{
		name: "source", section: sectionWhat, value: "REF", list: true,
		text:    "Where to copy the artifact from: a reference in a registry, or `oci-layout:PATH`. `PATH` is an OCI image layout, as a directory or a tar archive. If it contains several images, add `:NAME` or `@DIGEST`. `oci:` and `oci-archive:` mean the same as `oci-layout:`. Set one source, or one per target. A line `@FILE` means the lines of that file. Required by `promote`; not for `verify` and `inspect`.",
		example: "oci-layout:image.tar",
		set:     sources(func(in *inputs) *[]string { return &in.sources }),
	},
	{
		name: "tags", section: sectionWhat, value: "TAG", list: true,
		text:    "Additional tags for the artifact, one per line: names, or full references. A reference to another repository adds that repository as a target. A line `@FILE` means the lines of that file. Only for one artifact; not for `verify` and `inspect`.",
		example: "${{ steps.meta.outputs.tags }}",
		set:     tags(func(in *inputs) *[]string { return &in.tags }),
	},
	{
		name: "copy_referrers", section: sectionWhat, value: "true|false|TYPE", fallback: "true", list: true,
		text: "Which referrers, such as signatures and SBOMs, are copied with the artifact. `true`: all; `false`: none; otherwise the artifact types to copy, one per line. `promote` always copies signatures.",
		set:  referrerTypes(func(in *inputs) *referrerChoice { return &in.copyReferrers }),
	},
	{
		name: "attach", section: sectionWhat, value: "PATH=TYPE", list: true,
		text:    "Files to attach to the artifact, one `PATH=ARTIFACT-TYPE` per line. Each file becomes a referrer and is signed like the artifact. A file that is already attached is not attached again. Only for modes that sign.",
		example: "sbom.spdx.json=application/spdx+json",
		set:     attachments(func(in *inputs) *[]attachment { return &in.attach }),
	},
	{
		name: "recursive", section: sectionWhat, fallback: "false",
		text: "For a multi-platform image (an image index), also sign or verify every manifest in it, including those in nested indexes.",
		set:  boolean(func(in *inputs) *bool { return &in.recursive }),
	},

	{
		name: "key_id", section: sectionKey, value: "URI",
		text:    "Key ID, in the form that the plugin expects. For `pkcs11`, it is a PKCS#11 URI. Modes that sign require `key_id` or `key_name`, not both.",
		example: "pkcs11:token=Release;object=signing",
		set:     text(func(in *inputs) *string { return &in.keyID }),
	},
	{
		name: "key_name", section: sectionKey, value: "NAME",
		text: "Name of a key in notation's `signingkeys.json` on this runner: a plugin's key or a key file. Not with `key_id`, `plugin_name` or `plugin_url`.",
		set:  text(func(in *inputs) *string { return &in.keyName }),
	},
	{
		name: "pin", section: sectionKey, value: "PIN", secret: true,
		text:    "PIN of the token, for the plugin `pkcs11` (default: `$NOTATION_PKCS11_PIN_SOURCE`, then `$NOTATION_PKCS11_PIN`). It is masked in the log and used for one login attempt. To read the PIN from a file, set `pin_source` in `plugin_config` instead, not both.",
		example: "${{ secrets.PIN }}",
		set:     func(in *inputs, value string) error { in.pin = registry.NewSecret(value); return nil },
	},
	{
		name: "module", section: sectionKey, value: "PATH",
		text:    "Absolute path of the PKCS#11 module, for the plugin `pkcs11` (default: `$NOTATION_PKCS11_MODULE`, then p11-kit's proxy).",
		example: "/usr/lib/softhsm/libsofthsm2.so",
		set:     text(func(in *inputs) *string { return &in.module }),
	},
	{
		name: "cert_chain", section: sectionKey, value: "PATH|PEM",
		text: "Certificates that are not on the token, for the plugin `pkcs11` (default: `$NOTATION_PKCS11_CERT_CHAIN`). The path of a file, or the PEM itself, in any order.",
		set:  text(func(in *inputs) *string { return &in.certChain }),
	},
	{
		name: "audit_log", section: sectionKey, value: "PATH",
		text:    "Path of an audit log, for the plugin `pkcs11` (default: `$NOTATION_PKCS11_AUDIT_LOG`, then none). Each signature is recorded in this file before it is used, and so is each refused request and failed login. If the line can't be written, the signature is not used. Keep the file on a disk that outlives the job.",
		example: "/var/log/signing/audit.log",
		set:     text(func(in *inputs) *string { return &in.auditLog }),
	},
	{
		name: "plugin_name", section: sectionKey, value: "NAME", fallback: builtInPlugin,
		text: "Name of the signing plugin. `pkcs11` is built in. Any other plugin must be installed in notation on this runner, or come from `plugin_url`.",
		set:  checked(func(in *inputs) *string { return &in.pluginName }, checkPluginName),
	},
	{
		name: "plugin_url", section: sectionKey, value: "URL",
		text: "`https` URL of the plugin `plugin_name`: its executable, or a `.tar.gz` or `.zip` archive that contains it. The plugin is installed for this run only. Needs `plugin_checksum`; not for `pkcs11`.",
		set:  checked(func(in *inputs) *string { return &in.pluginURL }, sign.CheckPluginURL),
	},
	{
		name: "plugin_checksum", section: sectionKey, value: "SHA256",
		text: "SHA-256 of the file at `plugin_url`, in hexadecimal. It is compared before the file is unpacked or run.",
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
		text: "Format of the envelope of new signatures: `cose` or `jws`.",
		set:  named(func(in *inputs) *string { return &in.envelopeType }, map[string]string{"cose": cose.MediaTypeEnvelope, "jws": jws.MediaTypeEnvelope}),
	},
	{
		name: "user_metadata", section: sectionSigning, value: "KEY=VALUE", list: true,
		text:    "User metadata, one `key=value` per line. When signing, it is added to the signature payload. When verifying, a signature is valid only if its payload contains all of it.",
		example: "commit=${{ github.sha }}",
		set:     userMetadata(func(in *inputs) *map[string]string { return &in.userMetadata }),
	},
	{
		name: "expiry", section: sectionSigning, value: "DURATION",
		text:    "How long new signatures are valid, in whole seconds (default: they don't expire).",
		example: "8760h",
		set:     duration(func(in *inputs) *time.Duration { return &in.expiry }, time.Second, 100*365*24*time.Hour),
	},
	{
		name: "timestamp_url", section: sectionSigning, value: "URL",
		text: "URL of a timestamping authority (TSA, RFC 3161) that countersigns new signatures (default: no timestamp). Needs `timestamp_root_cert`.",
		set:  text(func(in *inputs) *string { return &in.timestampURL }),
	},
	{
		name: "timestamp_root_cert", section: sectionSigning, value: "PATH|PEM",
		text: "Root certificate of the TSA: its path, or the PEM itself. With `trusted_certificates`, verification also trusts timestamps from this TSA.",
		set:  text(func(in *inputs) *string { return &in.timestampRootCert }),
	},
	{
		name: "skip_signed", section: sectionSigning, fallback: "false",
		text: "Don't sign an artifact that already has an equivalent, unexpired signature. It must have the same certificate chain, `user_metadata`, `signature_format` and `expiry`, and a timestamp if `timestamp_url` is set. To learn the certificate chain, a run may make one signature that it doesn't push.",
		set:  boolean(func(in *inputs) *bool { return &in.skipSigned }),
	},
	{
		name: "renew_within", section: sectionSigning, value: "DURATION",
		text:    "With `skip_signed`: sign again if the existing signature ends within this duration (default: never). The new signature must end later; otherwise, a warning tells you to renew the certificate. Must be less than `expiry`.",
		example: "1080h",
		set:     duration(func(in *inputs) *time.Duration { return &in.renewWithin }, time.Second, 100*365*24*time.Hour),
	},

	{
		name: "trusted_certificates", section: sectionTrust, value: "PATH|PEM",
		text: "Certificates to trust, usually roots: their paths, one per line, or the PEM itself. They replace a trust policy; not with `trust_policy` or `trust_store`.",
		set:  text(func(in *inputs) *string { return &in.trustedCertificates }),
	},
	{
		name: "trusted_identities", section: sectionTrust, value: "IDENTITY", list: true,
		text:    "With `trusted_certificates`: the signers to trust, one `x509.subject:` with a distinguished name per line, as in a trust policy (default: `*`). `*` trusts any signer whose certificate chains to one of `trusted_certificates`.",
		example: "x509.subject: C=US, ST=WA, O=Example",
		set:     lines(func(in *inputs) *[]string { return &in.trustedIdentities }),
	},
	{
		name: "verification_level", section: sectionTrust, value: "LEVEL",
		text: "With `trusted_certificates`: `strict`, `permissive` or `audit` (default: `strict`).",
		set:  choice(func(in *inputs) *string { return &in.verificationLevel }, "strict", "permissive", "audit"),
	},
	{
		name: "trust_policy", section: sectionTrust, value: "PATH|JSON",
		text: "Trust policy: the path of a `trustpolicy.json`, or the JSON itself (default: notation's on this runner). Not with `trusted_certificates`.",
		set:  text(func(in *inputs) *string { return &in.trustPolicy }),
	},
	{
		name: "trust_store", section: sectionTrust, value: "PATH",
		text: "Directory of the trust stores that the policy names: the directory that contains `x509` (default: notation's on this runner). Not with `trusted_certificates`.",
		set:  text(func(in *inputs) *string { return &in.trustStore }),
	},
	{
		name: "trust_policy_scope", section: sectionTrust, value: "REPOSITORY",
		text:    "For artifacts in an OCI image layout: the repository whose trust policy statement applies (default: the statement with the scope `*` applies).",
		example: "registry.example/app",
		set:     repository(func(in *inputs) *orasregistry.Reference { return &in.trustPolicyScope }),
	},
	{
		name: "required_referrers", section: sectionTrust, value: "TYPE", list: true,
		text:    "Artifact types, one per line. Verification fails unless the artifact, or each of its platforms, has a referrer of each type. The referrer must itself be signed and valid under the policy. Only for modes that verify.",
		example: "application/spdx+json",
		set:     artifactTypes(func(in *inputs) *[]string { return &in.requiredReferrers }),
	},
	{
		name: "max_signatures", section: sectionTrust, value: "N", fallback: "100",
		text: "How many signatures of an artifact are verified at most: 1 to 10000.",
		set:  number(func(in *inputs) *int { return &in.maxSignatures }, 1, 10_000),
	},
	{
		name: "crl_files", section: sectionTrust, value: "PATH", list: true,
		text:    "Paths of certificate revocation lists (CRLs), one per line, each file with one CRL in PEM or DER. With these files, revocation can be checked offline. Until its next update, each CRL replaces the one at the URL in the certificate. Other CRLs are downloaded.",
		example: "ca.crl",
		set:     lines(func(in *inputs) *[]string { return &in.crlFiles }),
	},

	{
		name: "registry_username", section: sectionRegistry, value: "NAME",
		text: "User name for the registry, if all targets are on one (default: Docker's credentials on this runner, including credential helpers). Needs `registry_password`.",
		set:  text(func(in *inputs) *string { return &in.registryUsername }),
	},
	{
		name: "registry_password", section: sectionRegistry, value: "PASSWORD", secret: true,
		text:    "Password or token of `registry_username`.",
		example: "${{ secrets.GITHUB_TOKEN }}",
		set:     func(in *inputs, value string) error { in.registryPassword = registry.NewSecret(value); return nil },
	},
	{
		name: "source_registry_username", section: sectionRegistry, value: "NAME",
		text: "User name for the registry of `source` (default: `registry_username` if `source` is on the target's registry, otherwise Docker's credentials on this runner). Needs `source_registry_password`.",
		set:  text(func(in *inputs) *string { return &in.sourceUsername }),
	},
	{
		name: "source_registry_password", section: sectionRegistry, value: "PASSWORD", secret: true,
		text:    "Password or token of `source_registry_username`. `registry_password` is never sent to the registry of `source`, unless that is the target's registry.",
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
		text:    "Token servers in other domains that may get the registry's password, one `host` or `host:port` per line. Servers in the registry's own domain are always allowed.",
		example: "auth.example.net",
		set:     hosts(func(in *inputs) *[]string { return &in.tokenServers }),
	},
	{
		name: "force_referrers_tag", section: sectionRegistry, value: "auto|true|false", fallback: "auto",
		text: "How signatures are linked to the artifact. `auto` (same as `false`): the Referrers API, with the referrers tag schema as fallback. `true`: always the referrers tag schema.",
		set:  choice(func(in *inputs) *string { return &in.referrersTag }, "auto", "true", "false"),
	},

	{
		name: "concurrency", section: sectionRun, value: "N", fallback: "24",
		text: "How many artifacts are processed at once: 1 to 256.",
		set:  number(func(in *inputs) *int { return &in.concurrency }, 1, 256),
	},
	{
		name: "sessions", section: sectionRun, value: "N", fallback: "32",
		text: "How many sessions with the token are opened at most, for the plugin `pkcs11`: 1 to 32. Each makes one signature at a time. Another one is opened if signatures wait and the token allows it. If other programs need the token, lower the number.",
		set:  number(func(in *inputs) *int { return &in.sessions }, 1, 32),
	},
	{
		name: "timeout", section: sectionRun, value: "DURATION", fallback: "5m",
		text: "How long resolving, signing or verifying one artifact may take. Copying is not limited.",
		set:  duration(func(in *inputs) *time.Duration { return &in.timeout }, time.Second, 24*time.Hour),
	},
	{
		name: "warn_within", section: sectionRun, value: "DURATION", fallback: "720h",
		text: "Warn of each artifact that stops verifying within this duration, because its last signature or a certificate expires. `0` disables the warning. In mode `sign`, signatures are evaluated under the level `strict`.",
		set:  duration(func(in *inputs) *time.Duration { return &in.warnWithin }, 0, 100*365*24*time.Hour),
	},
	{
		name: "report", section: sectionRun, value: "PATH",
		text: "Path of the JSON report (default: a new file in the runner's temporary directory, if there is one). Below the workspace, the path must not contain symbolic links.",
		set:  text(func(in *inputs) *string { return &in.report }),
	},
}
