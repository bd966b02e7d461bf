// SPDX-License-Identifier: Apache-2.0

package payload

import (
	"encoding/base64"
	"encoding/binary"
	"strings"
	"testing"
)

const (
	goodHeader = `{"alg":"ES256","crit":["io.cncf.notary.signingScheme"],"cty":"application/vnd.cncf.notary.payload.v1+json","io.cncf.notary.signingScheme":"notary.x509","io.cncf.notary.signingTime":"2026-11-30T08:00:00+01:00"}`
	goodDigest = "sha256:6105d6cc76af400325e94d588ce511be5bfdbb73b437dc51eca43917d7a43e3d"
	goodTarget = `{"targetArtifact":{"mediaType":"text/plain","digest":"` + goodDigest + `","size":7,"artifactType":"a/b","annotations":{"k":"v"}}}`
)

func jws(header, target string) string {
	encode := base64.RawURLEncoding.EncodeToString
	return encode([]byte(header)) + "." + encode([]byte(target))
}

// checkRefusal wants an error that says all of some words.
func checkRefusal(t *testing.T, name, message string, says ...string) {
	t.Helper()
	p, err := Parse([]byte(message))
	if err == nil {
		t.Errorf("%s: read as %+v", name, p)
		return
	}
	for _, word := range says {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("%s: the error doesn't say %q: %v", name, word, err)
		}
	}
}

func TestMessagesOfOtherKindsAreRefused(t *testing.T) {
	for name, row := range map[string]struct{ message, says string }{
		"nothing":                   {"", "empty"},
		"the payload without frame": {goodTarget, "0x7b"},
		"DER, as of a certificate":  {"0\x82\x01\x00", "0x30"},
		"a digest in hexadecimal":   {strings.TrimPrefix(goodDigest, "sha256:"), "0x36"},
		"more than 4 MiB":           {strings.Repeat("e", maxMessage+1), "at most 4194304"},
		"a COSE_Sign1":              {"\xd2\x84\x40", "0xd2"},
		"a JSON Web Token":          {jws(`{"alg":"ES256","typ":"JWT"}`, `{"sub":"admin"}`), `"typ"`},
		"a token with Notary's cty": {jws(goodHeader, `{"targetArtifact":{},"sub":"admin"}`), `"sub"`},
	} {
		checkRefusal(t, name, row.message, "payload", row.says)
	}
}

func TestJWSThatVerifiersCouldReadInAnotherWayIsRefused(t *testing.T) {
	if _, err := Parse([]byte(jws(goodHeader, goodTarget))); err != nil {
		t.Fatal(err)
	}
	good := jws(goodHeader, goodTarget)
	header, target, _ := strings.Cut(good, ".")
	for name, row := range map[string]struct{ message, says string }{
		"a signature, too":          {good + ".AA", "3 parts"},
		"a part alone":              {header, "1 parts"},
		"base64 with padding":       {header + "." + target + "=", "not base64url"},
		"base64 with a line end":    {header[:8] + "\n" + header[8:] + "." + target, "its one form"},
		"base64 with bits to spare": {header + "." + strings.TrimSuffix(target, target[len(target)-1:]) + string(target[len(target)-1]+1), "base64url"},
		"the alphabet of base64":    {"e+/" + header[3:] + "." + target, "not base64url"},
	} {
		checkRefusal(t, name, row.message, "JWS signing input", row.says)
	}
}

func TestJWSHeadersThatNotationDoesNotWriteAreRefused(t *testing.T) {
	replace := func(old, new string) string { return strings.Replace(goodHeader, old, new, 1) }
	with := func(member string) string { return replace("{", "{"+member+",") }
	for name, row := range map[string]struct{ header, says string }{
		"kid":                      {with(`"kid":"1"`), `"kid"`},
		"typ":                      {with(`"typ":"JWT"`), `"typ"`},
		"jwk":                      {with(`"jwk":{}`), `"jwk"`},
		"x5u":                      {with(`"x5u":"https://example"`), `"x5u"`},
		"x5c":                      {with(`"x5c":[]`), `"x5c"`},
		"b64":                      {with(`"b64":false`), `"b64"`},
		"an unknown one":           {with(`"io.cncf.notary.new":1`), `"io.cncf.notary.new"`},
		"an authentic time":        {with(`"io.cncf.notary.authenticSigningTime":"2026-11-30T08:00:00Z"`), "authenticSigningTime"},
		"alg in other letters":     {replace(`"alg"`, `"Alg"`), `"Alg"`},
		"alg twice":                {with(`"alg":"ES256"`), `"alg" appears twice`},
		"alg twice, once escaped":  {with(`"\u0061lg":"ES256"`), `"alg" appears twice`},
		"no alg":                   {replace(`"alg":"ES256",`, ""), "the algorithm is \"\""},
		"alg none":                 {replace("ES256", "none"), `"none"`},
		"alg RS256":                {replace("ES256", "RS256"), `"RS256"`},
		"alg HS256":                {replace("ES256", "HS256"), `"HS256"`},
		"alg a number":             {replace(`"ES256"`, "-7"), "a JSON number"},
		"another content type":     {replace("payload.v1", "payload.v2"), `payload.v2+json"`},
		"no content type":          {replace(`"cty":"application/vnd.cncf.notary.payload.v1+json",`, ""), "content type is \"\""},
		"the signing authority":    {replace(`"notary.x509"`, `"notary.x509.signingAuthority"`), "notary.x509.signingAuthority"},
		"no scheme":                {replace(`"io.cncf.notary.signingScheme":"notary.x509",`, ""), "scheme is \"\""},
		"no time":                  {replace(`,"io.cncf.notary.signingTime":"2026-11-30T08:00:00+01:00"`, ""), "no signing time"},
		"a time with a fraction":   {replace("00+01:00", "00.5+01:00"), "whole seconds"},
		"a time with zeros behind": {replace("00+01:00", "00.000+01:00"), "whole seconds"},
		"a time in other letters":  {replace("T08", "t08"), "RFC 3339"},
		"a time that is escaped":   {replace("2026", `\u0032026`), "RFC 3339"},
		"a time that is null":      {replace(`"2026-11-30T08:00:00+01:00"`, "null"), "whole seconds"},
		"the time zero":            {replace("2026-11-30T08:00:00+01:00", "0001-01-01T00:00:00Z"), "the year 1"},
		"an expiry in the past":    {strings.Replace(with(`"io.cncf.notary.expiry":"2026-11-30T07:00:00Z"`), `signingScheme"]`, `signingScheme","io.cncf.notary.expiry"]`, 1), "not after"},
		"an expiry not critical":   {with(`"io.cncf.notary.expiry":"2027-11-30T07:00:00Z"`), `"io.cncf.notary.expiry" is not marked`},
		"critical what is unknown": {replace(`signingScheme"]`, `signingScheme","exp"]`), `"exp"`},
		"critical what is absent":  {replace(`signingScheme"]`, `signingScheme","io.cncf.notary.expiry"]`), `"io.cncf.notary.expiry" is marked`},
		"critical twice":           {replace(`signingScheme"]`, `signingScheme","io.cncf.notary.signingScheme"]`), "said before"},
		"critical nothing":         {replace(`["io.cncf.notary.signingScheme"]`, "[]"), "is not marked"},
		"critical a number":        {replace(`["io.cncf.notary.signingScheme"]`, "[1]"), "a JSON number"},
		"critical no array":        {replace(`["io.cncf.notary.signingScheme"]`, `"b64"`), "a JSON string"},
		"critical null":            {replace(`["io.cncf.notary.signingScheme"]`, `null`), "a JSON null"},
		"two documents":            {goodHeader + "{}", "not one JSON document"},
		"a comma too much":         {replace(`"}`, `",}`), "not one JSON document"},
		"not UTF-8":                {replace("ES256", "\xff"), "UTF-8"},
		"half a surrogate":         {replace("ES256", `\ud800`), "surrogate"},
		"a long foreign name":      {with(`"` + strings.Repeat("\u202e", 200) + `":1`), `\u202e`},
	} {
		checkRefusal(t, name, jws(row.header, goodTarget), row.says)
	}
	checkRefusal(t, "an array", "e"+jws("[]", goodTarget)[1:], "header")
}

func TestPayloadsThatNotationDoesNotWriteAreRefused(t *testing.T) {
	replace := func(old, new string) string { return strings.Replace(goodTarget, old, new, 1) }
	for name, row := range map[string]struct{ target, says string }{
		"other letters":             {replace("targetArtifact", "TARGETARTIFACT"), `"TARGETARTIFACT"`},
		"other letters, too":        {replace(`{"target`, `{"TargetArtifact":{},"target`), `"TargetArtifact"`},
		"twice":                     {replace(`{"target`, `{"targetArtifact":{},"target`), `"targetArtifact" appears twice`},
		"a member beside it":        {replace("{", `{"iat":1,`), `"iat"`},
		"nothing":                   {"{}", `no "targetArtifact"`},
		"null":                      {`{"targetArtifact":null}`, "a JSON null"},
		"an array":                  {"[" + goodTarget + "]", "a JSON array"},
		"a text":                    {`"x"`, "a JSON string"},
		"trailing bytes":            {goodTarget + "x", "not one JSON document"},
		"a zero byte behind":        {goodTarget + "\x00", "not one JSON document"},
		"a byte order mark":         {"\ufeff" + goodTarget, "not one JSON document"},
		"urls":                      {replace(`"size"`, `"urls":[],"size"`), `"urls"`},
		"data":                      {replace(`"size"`, `"data":"AA","size"`), `"data"`},
		"platform":                  {replace(`"size"`, `"platform":{},"size"`), `"platform"`},
		"digest in other letters":   {replace(`"digest"`, `"Digest"`), `"Digest"`},
		"digest twice":              {replace(`"size"`, `"digest":"`+goodDigest+`","size"`), `"digest" appears twice`},
		"no digest":                 {replace(`"digest":"`+goodDigest+`",`, ""), `no "digest"`},
		"digest in capitals":        {replace(goodDigest, strings.Replace(goodDigest, "d6cc", "D6CC", 1)), "SHA-256"},
		"digest that is short":      {replace(goodDigest, goodDigest[:70]), "SHA-256"},
		"digest of MD5":             {replace(goodDigest, "md5:d41d8cd98f00b204e9800998ecf8427e"), `"md5:`},
		"digest of the wrong size":  {replace("sha256:", "sha512:"), `"sha512:`},
		"digest that is empty":      {replace(goodDigest, ""), `no "digest"`},
		"digest null":               {replace(`"`+goodDigest+`"`, "null"), "a JSON null"},
		"a long media type":         {replace("text/plain", "text/"+strings.Repeat("p", 251)), "has 256 bytes"},
		"no media type":             {replace(`"mediaType":"text/plain",`, ""), `no "mediaType"`},
		"no size":                   {replace(`"size":7,`, ""), `no "size"`},
		"size below zero":           {replace(":7", ":-7"), `"-7"`},
		"size with an exponent":     {replace(":7", ":7e0"), `"7e0"`},
		"size with a fraction":      {replace(":7", ":7.0"), `"7.0"`},
		"size minus zero":           {replace(":7", ":-0"), `"-0"`},
		"size of 64 bits":           {replace(":7", ":9223372036854775808"), `"9223372036854775808"`},
		"size a text":               {replace(":7", `:"7"`), "not a number of bytes"},
		"annotations an array":      {replace(`{"k":"v"}`, "[]"), "a JSON array"},
		"annotations null":          {replace(`{"k":"v"}`, "null"), "a JSON null"},
		"an annotation twice":       {replace(`{"k":"v"}`, `{"k":"v","k":"w"}`), `"k" appears twice`},
		"an annotation no text":     {replace(`"v"`, "1"), "a JSON number"},
		"an annotation cut in half": {replace(`"v"`, `"\udead"`), "surrogate"},
		"a name cut in half":        {replace(`"k"`, `"\\\uDfff"`), "surrogate"},
	} {
		checkRefusal(t, name, jws(goodHeader, row.target), row.says)
		checkRefusal(t, name, sigStructure(goodCOSE(), row.target), row.says)
	}
	// What looks like an escape of a surrogate, and is text.
	if _, err := Parse([]byte(jws(goodHeader, replace(`"v"`, `"\\ud800 \u00e9"`)))); err != nil {
		t.Error(err)
	}
}

// The little of CBOR that tests write.
func item(major byte, argument int) string {
	if argument < 24 {
		return string([]byte{major<<5 | byte(argument)})
	}
	if argument < 1<<8 {
		return string([]byte{major<<5 | 24, byte(argument)})
	}
	return string(binary.BigEndian.AppendUint16([]byte{major<<5 | 25}, uint16(argument)))
}

func text(s string) string     { return item(cborText, len(s)) + s }
func binaryOf(s string) string { return item(cborBytes, len(s)) + s }

func sigStructure(header, target string) string {
	return item(cborArray, 4) + text("Signature1") + binaryOf(header) + binaryOf("") + binaryOf(target)
}

// goodPairs are the labels and values of a COSE header.
func goodPairs() []string {
	return []string{
		"\x01", "\x26", // ES256
		"\x02", item(cborArray, 1) + text(headerSigningScheme),
		"\x03", text(contentType),
		text(headerSigningTime), "\xc1\x1a\x6b\x0c\xc4\x1a",
		text(headerSigningScheme), text(signingScheme),
	}
}

func header(pairs ...string) string { return item(cborMap, len(pairs)/2) + strings.Join(pairs, "") }

func goodCOSE() string { return header(goodPairs()...) }

func TestCOSEThatNotationDoesNotWriteIsRefused(t *testing.T) {
	if _, err := Parse([]byte(sigStructure(goodCOSE(), goodTarget))); err != nil {
		t.Fatal(err)
	}
	good := sigStructure(goodCOSE(), goodTarget)
	with := func(pairs ...string) string {
		return sigStructure(header(append(goodPairs(), pairs...)...), goodTarget)
	}
	change := func(index int, value string) string {
		pairs := goodPairs()
		pairs[index] = value
		return sigStructure(header(pairs...), goodTarget)
	}
	frame := func(context, external string) string {
		return item(cborArray, 4) + context + binaryOf(goodCOSE()) + external + binaryOf(goodTarget)
	}
	for name, row := range map[string]struct{ message, says string }{
		"trailing bytes":               {good + "\x00", "1 bytes follow"},
		"cut":                          {good[:len(good)-1], "ends too early"},
		"cut after the header":         {good[:13], "ends too early"},
		"the context of COSE_Sign":     {frame(text("Signature"), binaryOf("")), `"Signature"`},
		"the context in bytes":         {frame(binaryOf("Signature1"), binaryOf("")), "a byte string, where a text string belongs"},
		"external data":                {frame(text("Signature1"), binaryOf("x")), "external_aad has 1 bytes"},
		"external data null":           {frame(text("Signature1"), "\xf6"), "external_aad: a simple value"},
		"a context of indefinite size": {frame("\x7f\x6aSignature1\xff", binaryOf("")), "indefinite length"},
		"a length in a longer form":    {frame("\x78\x0aSignature1", binaryOf("")), "longer form"},
		"a reserved length":            {frame("\x7cSignature1", binaryOf("")), "reserved"},
		"a payload null":               {item(cborArray, 4) + text("Signature1") + binaryOf(goodCOSE()) + binaryOf("") + "\xf6", "payload: a simple value"},
		"a header that is empty":       {sigStructure("", goodTarget), "ends too early"},
		"a header of indefinite size":  {sigStructure("\xbf"+strings.Join(goodPairs(), "")+"\xff", goodTarget), "indefinite length"},
		"a header with bytes behind":   {sigStructure(goodCOSE()+"\x00", goodTarget), "1 bytes follow"},
		"a header that is an array":    {sigStructure("\x80", goodTarget), "an array, where a map belongs"},
		"a label twice":                {with("\x01", "\x26"), "the label 1 appears twice"},
		"a label in a longer form":     {with("\x18\x01", "\x26"), "longer form"},
		"a label of bytes":             {with("\x41a", "\x01"), "where an integer belongs"},
		"kid":                          {with("\x04", "\x41a"), "the label 4 is not one that is signed"},
		"x5chain":                      {with("\x18\x21", "\x80"), "the label 33 is not"},
		"x5u":                          {with("\x18\x23", text("https://example")), "the label 35 is not"},
		"CWT claims":                   {with("\x0f", "\xa0"), "the label 15 is not"},
		"alg by its name":              {with(text("alg"), text("ES256")), `"alg"`},
		"an unknown text":              {with(text("io.cncf.notary.new"), "\x01"), `"io.cncf.notary.new"`},
		"an authentic time":            {with(text("io.cncf.notary.authenticSigningTime"), "\xc1\x01"), "authenticSigningTime"},
		"alg EdDSA":                    {change(1, "\x27"), "the algorithm -8"},
		"alg HMAC":                     {change(1, "\x05"), "the algorithm 5"},
		"alg a text":                   {change(1, text("ES256")), "1: a text string, where an integer belongs"},
		"alg of 64 bits":               {change(1, "\x3b\xff\xff\xff\xff\xff\xff\xff\xff"), "63 bits"},
		"critical what is unknown":     {change(3, item(cborArray, 2)+text(headerSigningScheme)+text("x")), `"x"`},
		"critical a number":            {change(3, item(cborArray, 2)+text(headerSigningScheme)+"\x01"), "where a text string belongs"},
		"critical without end":         {change(3, "\x9f"+text(headerSigningScheme)+"\xff"), "indefinite length"},
		"critical more than there is":  {change(3, "\x9b\x7f\xff\xff\xff\xff\xff\xff\xff"+text(headerSigningScheme)), "where a text string belongs"},
		"a content type by number":     {change(5, "\x18\x32"), "where a text string belongs"},
		"another content type":         {change(5, text("application/json")), `"application/json"`},
		"a content type not UTF-8":     {change(5, text("\xff")), "not UTF-8"},
		"a time without a tag":         {change(7, "\x1a\x6b\x0c\xc4\x1a"), "where a tag belongs"},
		"a time in text":               {change(7, "\xc0"+text("2026-11-30T08:00:00Z")), "the tag 0, not 1"},
		"a time in a float":            {change(7, "\xc1\xfb\x41\xda\xc3\x31\x06\x80\x00\x00"), "where an integer belongs"},
		"a time before 1970":           {change(7, "\xc1\x20"), "before 1970"},
		"a time after 9999":            {change(7, "\xc1\x1b\x00\x00\x00\x3a\xff\xf4\x41\x80"), "after 9999"},
		"the signing authority":        {change(9, text("notary.x509.signingAuthority")), "notary.x509.signingAuthority"},
		"no scheme":                    {sigStructure(header(goodPairs()[:8]...), goodTarget), `scheme is ""`},
		"an expiry not critical":       {with(text(headerExpiry), "\xc1\x1a\x7b\x0c\xc4\x1a"), "is not marked"},
	} {
		checkRefusal(t, name, row.message, "COSE Sig_structure", row.says)
	}
}
