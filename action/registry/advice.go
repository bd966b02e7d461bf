// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"

	"oras.land/oras-go/v2/errdef"
	"oras.land/oras-go/v2/registry"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/errcode"
)

// advice says what a status means that a registry should not have answered, and what
// to do; of 401 and 403 that is for [accessError] to say. The first row counts.
var advice = []struct {
	from, to int // statuses
	text     string
}{
	{http.StatusBadRequest, http.StatusBadRequest, notTaken},
	{http.StatusNotFound, http.StatusNotFound, "not found; check the repository, and the tag or digest"},
	{http.StatusMethodNotAllowed, http.StatusMethodNotAllowed, notTaken},
	{http.StatusConflict, http.StatusConflict, "another client changes the same thing; run again"},
	{http.StatusRequestEntityTooLarge, http.StatusRequestEntityTooLarge, "too large for the registry, or for a gateway in front of it; raise its limit"},
	{http.StatusUnsupportedMediaType, http.StatusUnsupportedMediaType, notTaken},
	{http.StatusTooManyRequests, http.StatusTooManyRequests, "the registry got too many requests; run again later, or with a lower concurrency"},
	{http.StatusInsufficientStorage, http.StatusInsufficientStorage, "the registry has no space left, or the quota is used up; free space, or raise the quota"},
	{http.StatusInternalServerError, 599, "the registry reports an error of its own; run again later, and if it persists, ask its operator"},
	{0, 999, "the answer is not that of a registry; check the address, then run again"},
}

const (
	notCreated  = "not found; check the repository, and create it first if the registry, such as ECR, creates none by itself"
	notTaken    = "the registry doesn't accept such manifests or such requests"
	plainOnly   = "the registry speaks plain HTTP, but only https was tried; if plain HTTP is intended, list the registry in insecure_registries"
	untrusted   = "the registry's certificate is not trusted on this machine; check the address, or add the CA to the trusted roots"
	unreachable = "the registry can't be reached; check the address and the network, then run again"
	unusable    = "the registry gave no usable answer; check the address and the network, then run again"
)

// AdvisedError is an error of a registry of which the cause is known. What its status
// usually means says less.
type AdvisedError struct {
	Advice string // the cause, and what to do
	Err    error  // perhaps nil
}

// Error implements error.
func (e *AdvisedError) Error() string {
	if e.Err == nil {
		return e.Advice
	}
	return fmt.Sprintf("%s: %v", e.Advice, e.Err)
}

// Unwrap returns the registry's answer.
func (e *AdvisedError) Unwrap() error { return e.Err }

// advise adds what to do to a registry's error. Other errors are left alone: they
// say themselves what is wrong.
func advise(ctx context.Context, err error) error {
	var response *errcode.ErrorResponse
	var certificate *tls.CertificateVerificationError
	var network *url.Error
	var connection *net.OpError
	var busy *BusyError
	text := ""
	switch {
	case errors.As(err, new(*AdvisedError)):
	case errors.Is(err, http.ErrSchemeMismatch):
		text = plainOnly
	case errors.As(err, &response) && response.StatusCode == http.StatusNotFound && response.Method == http.MethodPost: // to upload
		text = notCreated
	case errors.As(err, &response):
		text = adviceOn(response.StatusCode)
	case errors.Is(err, errdef.ErrNotFound):
		return notFound{adviceOn(http.StatusNotFound), err}
	case ctx.Err() != nil: // that the run has ended is said elsewhere
	case errors.As(err, new(guardError)):
	case errors.As(err, &certificate):
		text = untrusted
	case errors.As(err, &connection) && connection.Op == "dial":
		text = unreachable
	case errors.As(err, &network), errors.As(err, &busy):
		text = unusable
	}
	if text == "" {
		return err
	}
	return fmt.Errorf("%s: %w", text, err)
}

// notFound is the error of oras-go for what isn't there, which says nothing more than the
// reference, unless it is a request's.
type notFound struct {
	text string
	err  error
}

func (e notFound) Error() string {
	if strings.HasPrefix(e.err.Error(), "GET ") {
		return e.text + ": " + e.err.Error()
	}
	return e.text
}

func (e notFound) Unwrap() error { return e.err }

func adviceOn(status int) string {
	for _, a := range advice {
		if status >= a.from && status <= a.to {
			return a.text
		}
	}
	return ""
}

// accessError is a registry's refusal, with what is needed to fix it.
type accessError struct {
	Status     int // 401 or 403
	Repository registry.Reference
	Pushing    bool
	Anonymous  bool   // there are no credentials
	Inputs     string // that credentials can be given by
	Source     string // of the credentials, or why there are none
	Err        error
}

func (e *accessError) Error() string {
	todo, right := "read", "the right to read it"
	if e.Pushing {
		todo, right = "push to", "the right to push"
	}
	if e.Repository.Registry == "ghcr.io" {
		right = "\"packages: read\" in the job's permissions"
		if e.Pushing {
			right = "\"packages: write\" in the job's permissions"
		}
	}
	needs := "check that they are valid and have " + right
	if e.Anonymous {
		needs = "log in (" + e.Inputs + ", or docker login), with " + right
	}
	return fmt.Sprintf("can't %s %s: the registry answered %d (credentials: %s); %s: %v", todo, e.Repository, e.Status, e.Source, needs, e.Err)
}

func (e *accessError) Unwrap() error { return e.Err }

// Explain adds to a registry's error what to do, and to a refusal where the credentials
// came from. What the registry repeats of secrets is taken out by Redact, before
// anything is shown.
func (r *Client) Explain(ctx context.Context, repository registry.Reference, pushing bool, err error) error {
	status := http.StatusUnauthorized
	var response *errcode.ErrorResponse
	var explained *accessError
	switch {
	case errors.As(err, &explained):
		return err
	case errors.Is(err, auth.ErrBasicCredentialNotFound):
	case errors.As(err, &response) && (response.StatusCode == http.StatusUnauthorized || response.StatusCode == http.StatusForbidden):
		status = response.StatusCode
	default:
		return advise(ctx, err)
	}
	repository.Reference = ""
	l := r.login(repository.Host())
	source, anonymous := "none, because the registry asked for none", true
	switch {
	case l.lookedUp():
		source, anonymous = l.source, l.credential == auth.EmptyCredential
	case r.options.Username != "":
		source, anonymous = "from "+r.options.loginInputs()+", not sent, because the registry asked for none", false
	}
	return &accessError{status, repository, pushing, anonymous, r.options.loginInputs(), source, err}
}
