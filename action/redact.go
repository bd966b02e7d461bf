// SPDX-License-Identifier: Apache-2.0

package action

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// redacting keeps the credentials of a request out of what is told of its answer.
// Some registries, and what stands before them, repeat the request when they refuse
// it; that would go into the log, the summary and the report.
type redacting struct{ http.RoundTripper }

// RoundTrip implements [http.RoundTripper].
func (r redacting) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := r.RoundTripper.RoundTrip(req)
	if err != nil || resp.StatusCode < 400 {
		return resp, err
	}
	secrets := credentialsOf(req)
	if len(secrets) == 0 {
		return resp, nil
	}
	replacer := redactor(secrets)
	for _, values := range resp.Header {
		for i := range values {
			values[i] = replacer.Replace(values[i])
		}
	}
	resp.Body, resp.ContentLength = &redactedBody{ReadCloser: resp.Body, replacer: replacer}, -1
	return resp, nil
}

// credentialsOf returns what a request is authorized with: the header's value, and
// with Basic authentication the password.
func credentialsOf(req *http.Request) []string {
	_, token, _ := strings.Cut(req.Header.Get("Authorization"), " ")
	if token == "" {
		return nil
	}
	secrets := []string{token}
	if _, password, ok := req.BasicAuth(); ok && password != "" {
		secrets = append(secrets, password)
	}
	return secrets
}

// redactor replaces secrets, however a server may have written them.
func redactor(secrets []string) *strings.Replacer {
	var pairs []string
	for _, secret := range secrets {
		escaped, _ := json.Marshal(secret) // which never fails for a string
		var plain bytes.Buffer
		encoder := json.NewEncoder(&plain)
		encoder.SetEscapeHTML(false)
		_ = encoder.Encode(secret) // likewise
		for _, text := range []string{
			unquoted(string(escaped)), unquoted(strings.TrimSuffix(plain.String(), "\n")),
			url.QueryEscape(secret), url.PathEscape(secret), secret,
		} {
			pairs = append(pairs, text, "REDACTED")
		}
	}
	return strings.NewReplacer(pairs...)
}

func unquoted(s string) string { return s[1 : len(s)-1] }

// maxErrorBody bounds what is kept of an error's body, in bytes. A quarter of it is
// ever looked at.
const maxErrorBody = 32 << 10

// redactedBody is an error's body without secrets. It is read when it is asked for,
// and not before: a server may be slow with it.
type redactedBody struct {
	io.ReadCloser
	replacer *strings.Replacer
	rest     *strings.Reader // nil: nothing was read yet
	end      error
}

func (b *redactedBody) Read(p []byte) (int, error) {
	if b.rest == nil {
		body, err := io.ReadAll(io.LimitReader(b.ReadCloser, maxErrorBody))
		b.rest, b.end = strings.NewReader(b.replacer.Replace(string(body))), err
	}
	n, err := b.rest.Read(p)
	if err == io.EOF && b.end != nil {
		err = b.end
	}
	return n, err
}
