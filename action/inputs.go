// SPDX-License-Identifier: Apache-2.0

package action

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/notaryproject/notation-core-go/signature/cose"
	"github.com/notaryproject/notation-core-go/signature/jws"

	"github.com/notation-pkcs11/notation-pkcs11/action/registry"
	"github.com/notation-pkcs11/notation-pkcs11/action/sign"
)

// mode is what a run does.
type mode string

const (
	modeSign          mode = "sign"
	modeVerify        mode = "verify"
	modeSignAndVerify mode = "sign-and-verify"
	modeInspect       mode = "inspect"
	modePromote       mode = "promote"
)

// signs says whether the mode makes signatures.
func (m mode) signs() bool { return m == modeSign || m == modeSignAndVerify }

// verifies says whether the mode evaluates the trust policy.
func (m mode) verifies() bool {
	return m == modeVerify || m == modeSignAndVerify || m == modePromote
}

// writes says whether the mode changes what is in a registry.
func (m mode) writes() bool { return m.signs() || m == modePromote }

// inputs is everything that a user said, parsed and checked.
type inputs struct {
	mode    mode
	targets []string // references
	sources []string // one, or as many as targets
	tags    []string // names, or references

	copyReferrers referrerChoice
	attach        []attachment
	destinations  []destination // what targets, sources and tags come to; empty without sources and tags

	keyID          string
	keyName        string
	pluginName     string
	pluginURL      string
	pluginChecksum string // SHA-256, 64 lower-case hexadecimal digits
	pluginConfig   map[string]string
	pin            registry.Secret
	module         string
	certChain      string // a path, or PEM
	auditLog       string

	envelopeType      string // media type
	userMetadata      map[string]string
	expiry            time.Duration // zero: none
	timestampURL      string
	timestampRootCert string // a path, or PEM
	skipSigned        bool
	renewWithin       time.Duration // zero: never
	recursive         bool

	trustPolicy         string // a path, or JSON
	trustStore          string
	trustedCertificates string // paths one a line, or PEM
	trustedIdentities   []string
	verificationLevel   string
	maxSignatures       int
	crlFiles            []string
	requiredReferrers   []string // artifact types

	registryUsername   string
	registryPassword   registry.Secret
	sourceUsername     string
	sourcePassword     registry.Secret
	insecureRegistries []string
	tokenServers       []string
	referrersTag       string // auto, true or false

	concurrency int
	sessions    int
	timeout     time.Duration
	warnWithin  time.Duration // zero: never
	report      string
}

// builtInPlugin is the name of the plugin that needs no installation.
const builtInPlugin = "pkcs11"

// input is one thing that a user can say.
type input struct {
	name     string // of the input; the flag has - for _
	section  string // of the reference
	fallback string // what it is where a user says nothing
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
		name: "mode", section: sectionWhat, fallback: string(modeSignAndVerify),
		text: "What to do: `sign`, `verify`, `sign-and-verify`, `promote`, which verifies at `source`, copies, and verifies at the target, or `inspect`, which shows the signatures that are there and judges nothing.",
		set:  choice(func(in *inputs) *mode { return &in.mode }, modeSign, modeVerify, modeSignAndVerify, modePromote, modeInspect),
	},
	{
		name: "target_artifact_reference", section: sectionWhat, list: true,
		text:    "The artifacts, one reference per line, with a digest (better) or a tag, which is resolved once. With `source`: where the artifact goes; its tag is set last. `@FILE` stands for the lines of a file. Required.",
		example: "ghcr.io/me/app@sha256:…",
		set:     references(func(in *inputs) *[]string { return &in.targets }),
	},
	{
		name: "source", section: sectionWhat, list: true,
		text:    "Where the artifact comes from, before it is signed: `oci-layout:PATH`, an OCI image layout as a directory or a tar archive, with `:NAME` or `@DIGEST` if there are several images in it (`oci:` and `oci-archive:` are the same), or a reference in a registry. One source, or one per target. `@FILE` stands for the lines of a file.",
		example: "oci-layout:image.tar",
		set:     sources(func(in *inputs) *[]string { return &in.sources }),
	},
	{
		name: "tags", section: sectionWhat, list: true,
		text:    "More tags for the same artifact, one per line: names, or full references, which can name other repositories. The artifact is copied there and signed there, too. `@FILE` stands for the lines of a file.",
		example: "${{ steps.meta.outputs.tags }}",
		set:     tags(func(in *inputs) *[]string { return &in.tags }),
	},
	{
		name: "copy_referrers", section: sectionWhat, fallback: "true", list: true,
		text: "Whether signatures, SBOMs and other referrers are copied with the artifact: `true`, `false`, or the artifact types to copy, one per line. `promote` always copies signatures.",
		set:  referrerTypes(func(in *inputs) *referrerChoice { return &in.copyReferrers }),
	},
	{
		name: "attach", section: sectionWhat, list: true,
		text:    "Files to attach to the artifact, `PATH=ARTIFACT-TYPE` per line. Each becomes a referrer, which is signed like the artifact. A file that is attached already is not attached again.",
		example: "sbom.spdx.json=application/spdx+json",
		set:     attachments(func(in *inputs) *[]attachment { return &in.attach }),
	},
	{
		name: "recursive", section: sectionWhat, fallback: "false",
		text: "`true`: an index (a multi-platform image) stands for itself and all manifests in it, those of nested indexes too. Each is signed, each must verify.",
		set:  boolean(func(in *inputs) *bool { return &in.recursive }),
	},

	{
		name: "key_id", section: sectionKey,
		text:    "The key, in its plugin's words. For `pkcs11` that is a PKCS#11 URI. Needed to sign, or `key_name`.",
		example: "pkcs11:token=release;object=signing",
		set:     text(func(in *inputs) *string { return &in.keyID }),
	},
	{
		name: "key_name", section: sectionKey,
		text: "The key, by its name in notation's `signingkeys.json` on this runner: a key of a plugin, or one in files. In place of `key_id` and the plugin's inputs.",
		set:  text(func(in *inputs) *string { return &in.keyName }),
	},
	{
		name: "pin", section: sectionKey, secret: true,
		text:    "The token's PIN, of the plugin `pkcs11`. It is masked in the log, and tried once. The environment variable `NOTATION_PKCS11_PIN` and `pin_source` in `plugin_config` are other ways.",
		example: "${{ secrets.PIN }}",
		set:     func(in *inputs, value string) error { in.pin = registry.NewSecret(value); return nil },
	},
	{
		name: "module", section: sectionKey,
		text:    "Path of the vendor's PKCS#11 module, of the plugin `pkcs11`. Without it, p11-kit's proxy.",
		example: "/usr/lib/softhsm/libsofthsm2.so",
		set:     text(func(in *inputs) *string { return &in.module }),
	},
	{
		name: "cert_chain", section: sectionKey,
		text: "Certificates that are not on the token, of the plugin `pkcs11`: the path of a PEM file, or the PEM itself, in any order.",
		set:  text(func(in *inputs) *string { return &in.certChain }),
	},
	{
		name: "audit_log", section: sectionKey,
		text:    "File of an audit log, of the plugin `pkcs11`: each signature has a line there before it is used, and so have requests that are refused and logins that fail. A signature whose line can't be written is not used. Keep the file on a disk that outlives the run.",
		example: "/var/log/signing/audit.log",
		set:     text(func(in *inputs) *string { return &in.auditLog }),
	},
	{
		name: "plugin_name", section: sectionKey, fallback: builtInPlugin,
		text: "The signing plugin. `pkcs11` is built in; any other is the one installed in notation on this runner, or that of `plugin_url`.",
		set:  checked(func(in *inputs) *string { return &in.pluginName }, checkPluginName),
	},
	{
		name: "plugin_url", section: sectionKey,
		text: "Where to get the plugin of `plugin_name` from: an `https` URL of its executable, or of a `.tar.gz` or `.zip` with it. It is there for this run alone.",
		set:  checked(func(in *inputs) *string { return &in.pluginURL }, sign.CheckPluginURL),
	},
	{
		name: "plugin_checksum", section: sectionKey,
		text: "SHA-256 of what `plugin_url` names, in hexadecimal. It is compared before anything of it is used.",
		set:  checksum(func(in *inputs) *string { return &in.pluginChecksum }),
	},
	{
		name: "plugin_config", section: sectionKey, list: true,
		text:    "Settings for the plugin, `key=value` one a line. Don't put secrets here.",
		example: "timeout=30s",
		set:     pairs(func(in *inputs) *map[string]string { return &in.pluginConfig }),
	},

	{
		name: "signature_format", section: sectionSigning, fallback: "cose",
		text: "The envelope of new signatures: `cose` or `jws`.",
		set:  named(func(in *inputs) *string { return &in.envelopeType }, map[string]string{"cose": cose.MediaTypeEnvelope, "jws": jws.MediaTypeEnvelope}),
	},
	{
		name: "user_metadata", section: sectionSigning, list: true,
		text:    "`key=value` one a line. Signed along when signing; when verifying, a signature must have them all to count.",
		example: "commit=${{ github.sha }}",
		set:     userMetadata(func(in *inputs) *map[string]string { return &in.userMetadata }),
	},
	{
		name: "expiry", section: sectionSigning,
		text:    "How long new signatures are good for, as a duration of whole seconds such as `8760h`. Without it they don't expire.",
		example: "8760h",
		set:     duration(func(in *inputs) *time.Duration { return &in.expiry }, time.Second, 100*365*24*time.Hour),
	},
	{
		name: "timestamp_url", section: sectionSigning,
		text: "URL of a timestamping authority (RFC 3161) that countersigns new signatures. Needs `timestamp_root_cert`.",
		set:  text(func(in *inputs) *string { return &in.timestampURL }),
	},
	{
		name: "timestamp_root_cert", section: sectionSigning,
		text: "The root certificate of that authority: a path, or the PEM itself. With `trusted_certificates`, it is also whose timestamps are believed when verifying.",
		set:  text(func(in *inputs) *string { return &in.timestampRootCert }),
	},
	{
		name: "skip_signed", section: sectionSigning, fallback: "false",
		text: "`true`: an artifact that has a good signature by this key already, with the same `user_metadata`, gets no other. Which certificate is the key's shows in a signature, so a run may make one that it does not push.",
		set:  boolean(func(in *inputs) *bool { return &in.skipSigned }),
	},
	{
		name: "renew_within", section: sectionSigning,
		text:    "With `skip_signed`: an artifact gets another signature if the last of those ends within this duration, and the new one ends later. If the new one would end no later, a warning names the certificate to renew. Must be less than `expiry`.",
		example: "1080h",
		set:     duration(func(in *inputs) *time.Duration { return &in.renewWithin }, time.Second, 100*365*24*time.Hour),
	},

	{
		name: "trusted_certificates", section: sectionTrust,
		text: "Certificates to trust, mostly roots, as PEM or as paths one a line. With `trusted_identities` this is all it takes to verify: no trust policy, no trust store.",
		set:  text(func(in *inputs) *string { return &in.trustedCertificates }),
	},
	{
		name: "trusted_identities", section: sectionTrust, list: true,
		text:    "With `trusted_certificates`: whose signatures count, one distinguished name a line as in a trust policy. Without it, or with `*`, those of everybody whom these certificates vouch for.",
		example: "x509.subject: C=DE, ST=Berlin, O=Example",
		set:     lines(func(in *inputs) *[]string { return &in.trustedIdentities }),
	},
	{
		name: "verification_level", section: sectionTrust,
		text: "With `trusted_certificates`: `strict` (which it is without), `permissive` or `audit`.",
		set:  choice(func(in *inputs) *string { return &in.verificationLevel }, "strict", "permissive", "audit"),
	},
	{
		name: "trust_policy", section: sectionTrust,
		text: "The trust policy: the path of a `trustpolicy.json`, or the JSON itself. Without it and `trusted_certificates`, notation's own on this runner.",
		set:  text(func(in *inputs) *string { return &in.trustPolicy }),
	},
	{
		name: "trust_store", section: sectionTrust,
		text: "The directory of the trust store that the policy speaks of, the one that has `x509` in it. Without it, notation's own on this runner.",
		set:  text(func(in *inputs) *string { return &in.trustStore }),
	},
	{
		name: "required_referrers", section: sectionTrust, list: true,
		text:    "Artifact types, one per line. Verifying fails unless the artifact, or each of its platforms, has a referrer of each type that is itself signed and valid under the policy.",
		example: "application/spdx+json",
		set:     artifactTypes(func(in *inputs) *[]string { return &in.requiredReferrers }),
	},
	{
		name: "max_signatures", section: sectionTrust, fallback: "100",
		text: "How many signatures of an artifact are looked at.",
		set:  number(func(in *inputs) *int { return &in.maxSignatures }, 1, 10_000),
	},
	{
		name: "crl_files", section: sectionTrust, list: true,
		text:    "CRLs at hand, paths of files with one CRL in PEM or DER each. They answer in place of the URLs in certificates until their next update, so that revocation can be checked offline. Other CRLs are fetched.",
		example: "ca.crl",
		set:     lines(func(in *inputs) *[]string { return &in.crlFiles }),
	},

	{
		name: "registry_username", section: sectionRegistry,
		text: "User name for the registries. Without it, what `docker login` left on this runner, credential helpers too.",
		set:  text(func(in *inputs) *string { return &in.registryUsername }),
	},
	{
		name: "registry_password", section: sectionRegistry, secret: true,
		text:    "Password or token of that user.",
		example: "${{ secrets.GITHUB_TOKEN }}",
		set:     func(in *inputs, value string) error { in.registryPassword = registry.NewSecret(value); return nil },
	},
	{
		name: "source_registry_username", section: sectionRegistry,
		text: "User name for the registry of `source`. If it is unset, a source on the target's registry is read as `registry_username`; any other with what `docker login` left on this runner.",
		set:  text(func(in *inputs) *string { return &in.sourceUsername }),
	},
	{
		name: "source_registry_password", section: sectionRegistry, secret: true,
		text:    "Password or token of that user. `registry_password` is never sent to the registry of `source`, unless it is the target's.",
		example: "${{ secrets.STAGING_TOKEN }}",
		set:     func(in *inputs, value string) error { in.sourcePassword = registry.NewSecret(value); return nil },
	},
	{
		name: "insecure_registries", section: sectionRegistry, list: true,
		text:    "Registries to speak plain HTTP with, `host:port` per line; `host` stands for all its ports. `localhost` needs no mention.",
		example: "registry.internal:5000",
		set:     hosts(func(in *inputs) *[]string { return &in.insecureRegistries }),
	},
	{
		name: "token_servers", section: sectionRegistry, list: true,
		text:    "Servers, `host` or `host:port` per line, from which a registry of another domain may have tokens fetched. They get the password. A server of the registry's own domain needs no mention.",
		example: "auth.example.net",
		set:     hosts(func(in *inputs) *[]string { return &in.tokenServers }),
	},
	{
		name: "force_referrers_tag", section: sectionRegistry, fallback: "auto",
		text: "How a registry is told of new signatures. `auto`, and `false` too: by the Referrers API, and by the referrers tag schema where a registry has no such API. `true`: by the tag schema always.",
		set:  choice(func(in *inputs) *string { return &in.referrersTag }, "auto", "true", "false"),
	},

	{
		name: "concurrency", section: sectionRun, fallback: "24",
		text: "How many artifacts are worked on at once.",
		set:  number(func(in *inputs) *int { return &in.concurrency }, 1, 256),
	},
	{
		name: "sessions", section: sectionRun, fallback: "32",
		text: "How many sessions with a token are opened at most, each for one signature at a time, of the plugin `pkcs11`: 1 to 32. They grow with the signatures that wait, up to what the token states and grants. Lower it if others need the token's sessions.",
		set:  number(func(in *inputs) *int { return &in.sessions }, 1, 32),
	},
	{
		name: "timeout", section: sectionRun, fallback: "5m",
		text: "How long resolving, signing or verifying one artifact may take, as a duration such as `90s`.",
		set:  duration(func(in *inputs) *time.Duration { return &in.timeout }, time.Second, 24*time.Hour),
	},
	{
		name: "warn_within", section: sectionRun, fallback: "720h",
		text: "A warning names each artifact that stops verifying within this duration, because its last signature or a certificate expires. `0`: never. In mode `sign`, the signature counts as a verifier with `verification_level: strict` sees it.",
		set:  duration(func(in *inputs) *time.Duration { return &in.warnWithin }, 0, 100*365*24*time.Hour),
	},
	{
		name: "report", section: sectionRun,
		text: "Path of the JSON report. Without it, a file in the runner's temporary directory, which the output `report` names. Below the workspace, the path has no symbolic links.",
		set:  text(func(in *inputs) *string { return &in.report }),
	},
}

// parseInputs parses what lookUp has of each input, and checks that the inputs
// go together. The error names all inputs at fault, and holds no secret.
func parseInputs(lookUp func(input) string) (inputs, error) {
	var in inputs
	var faults []error
	for _, input := range inputTable {
		value := lookUp(input)
		if strings.TrimSpace(value) == "" {
			value = input.fallback
		}
		if value == "" {
			continue
		}
		if input.secret { // white space may be meant; the end of a line is not
			value = strings.TrimRight(value, "\r\n")
		} else {
			value = strings.TrimSpace(value)
		}
		if err := input.set(&in, value); err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", input.name, err))
		}
	}
	if faults == nil { // else they would show up twice
		faults = in.check()
	}
	return in, errors.Join(faults...)
}

// check returns what is wrong with the inputs taken together.
func (in *inputs) check() []error {
	var faults []error
	for _, rule := range inputRules {
		if rule.broken(in) {
			faults = append(faults, errors.New(rule.text))
		}
	}
	if len(faults) == 0 {
		var err error
		if in.destinations, err = in.findDestinations(); err != nil {
			faults = append(faults, err)
		}
	}
	return faults
}

// inputRules say which inputs go together.
var inputRules = []struct {
	broken func(in *inputs) bool
	text   string
}{
	{
		func(in *inputs) bool { return len(in.targets) == 0 },
		"target_artifact_reference is missing; give at least one reference, such as ghcr.io/me/app@sha256:…",
	},
	{
		func(in *inputs) bool { return in.mode.signs() && in.keyID == "" && in.keyName == "" },
		"no key to sign with; set key_id, such as pkcs11:token=release;object=signing, or key_name",
	},
	{
		func(in *inputs) bool { return in.keyID != "" && in.keyName != "" },
		"key_id and key_name are both set; set the one that is meant",
	},
	{
		func(in *inputs) bool { return in.keyName != "" && in.pluginName != builtInPlugin },
		"key_name and plugin_name are both set; the key's entry in signingkeys.json names its plugin",
	},
	{
		func(in *inputs) bool { return in.keyName != "" && in.pluginURL != "" },
		"key_name and plugin_url are both set; use key_id with plugin_url",
	},
	{
		func(in *inputs) bool { return in.pluginName != builtInPlugin && in.hasTokenInputs() },
		"pin, module and cert_chain are for the built-in plugin pkcs11; other plugins get theirs by plugin_config",
	},
	{
		func(in *inputs) bool { return in.pluginName != builtInPlugin && in.auditLog != "" },
		"audit_log is for the built-in plugin pkcs11; what another plugin signs can't be known",
	},
	{
		func(in *inputs) bool { return in.auditLog != "" && has(in.pluginConfig, "audit_log") },
		"audit_log is set twice, in plugin_config too; set it once",
	},
	{
		func(in *inputs) bool { return in.module != "" && has(in.pluginConfig, "module") },
		"module is set twice, in plugin_config too; set it once",
	},
	{
		func(in *inputs) bool { return in.certChain != "" && has(in.pluginConfig, "cert_chain") },
		"cert_chain is set twice, in plugin_config too; set it once",
	},
	{
		func(in *inputs) bool { return !in.pin.Empty() && has(in.pluginConfig, "pin_source") },
		"pin and, in plugin_config, pin_source are both set; set the one that is meant",
	},
	{
		func(in *inputs) bool { return (in.pluginURL == "") != (in.pluginChecksum == "") },
		"plugin_url and plugin_checksum go together; set both or none",
	},
	{
		func(in *inputs) bool { return in.pluginURL != "" && in.pluginName == builtInPlugin },
		"plugin_url is set and plugin_name is not; the plugin pkcs11 is built in and is not fetched",
	},
	{
		func(in *inputs) bool { return in.mode.signs() && in.timestampURL != "" && in.timestampRootCert == "" },
		"timestamp_url needs timestamp_root_cert, the root certificate of the authority",
	},
	{
		func(in *inputs) bool {
			return in.mode == modeSign && in.timestampURL == "" && in.timestampRootCert != ""
		},
		"timestamp_root_cert is set and timestamp_url is not; set both or none",
	},
	{
		func(in *inputs) bool { return in.mode.signs() && in.renewWithin > 0 && !in.skipSigned },
		"renew_within is set and skip_signed is not; without skip_signed each run makes a signature",
	},
	{
		func(in *inputs) bool { return in.mode.signs() && in.expiry > 0 && in.expiry <= in.renewWithin },
		"expiry is not longer than renew_within, so each run would sign again; set a longer expiry or a shorter renew_within",
	},
	{
		func(in *inputs) bool { return (in.registryUsername == "") != in.registryPassword.Empty() },
		"registry_username and registry_password go together; set both or none",
	},
	{
		func(in *inputs) bool { return (in.sourceUsername == "") != in.sourcePassword.Empty() },
		"source_registry_username and source_registry_password go together; set both or none",
	},
	{
		func(in *inputs) bool { return in.sourceUsername != "" && len(in.sourceReferences()) == 0 },
		"source_registry_username is set, and no source is in a registry",
	},
	{
		func(in *inputs) bool { return len(in.sources) > 0 && !in.mode.writes() },
		"source is set, and the modes verify and inspect write nothing; use one of sign, sign-and-verify, promote",
	},
	{
		func(in *inputs) bool { return len(in.tags) > 0 && !in.mode.writes() },
		"tags is set, and the modes verify and inspect write nothing; use one of sign, sign-and-verify, promote",
	},
	{
		func(in *inputs) bool { return len(in.attach) > 0 && !in.mode.signs() },
		"attach is set, and what is attached is signed; use one of sign, sign-and-verify",
	},
	{
		func(in *inputs) bool { return len(in.requiredReferrers) > 0 && !in.mode.verifies() },
		"required_referrers is set, and the mode does not verify; use one of verify, sign-and-verify, promote",
	},
	{
		func(in *inputs) bool { return in.mode == modePromote && len(in.sources) == 0 },
		"mode is promote, and source is missing; set it to the artifact to promote",
	},
	{
		func(in *inputs) bool { return len(in.sources) > 1 && len(in.sources) != len(in.targets) },
		"source has several lines, but not as many as target_artifact_reference; give one source, or one per target",
	},
	{
		func(in *inputs) bool {
			return len(in.tags) > 0 && (len(in.sources) > 1 || len(in.sources) == 0 && len(in.targets) > 1)
		},
		"tags are for one artifact, and there are several; give one source, or one target without a source",
	},
}

func (in *inputs) hasTokenInputs() bool {
	return !in.pin.Empty() || in.module != "" || in.certChain != ""
}

func has(m map[string]string, key string) bool {
	_, present := m[key]
	return present
}

// secretVariables are the environment variables that hold secret inputs, which
// no other process is to see.
func secretVariables() []string {
	var names []string
	for _, input := range inputTable {
		if input.secret {
			names = append(names, input.variable())
		}
	}
	return names
}
