// SPDX-License-Identifier: Apache-2.0

package action

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"oras.land/oras-go/v2/errdef"
	"oras.land/oras-go/v2/registry/remote/errcode"
)

// advice says what to do about an answer that a registry should not have given;
// what to do about 401 and 403 is for [accessError] to say.
var advice = []struct {
	from, to int // statuses
	text     string
}{
	{http.StatusNotFound, http.StatusNotFound, "make sure that the names are right and the artifact is there"},
	{http.StatusConflict, http.StatusConflict, "somebody changes the same thing; run again"},
	{http.StatusRequestEntityTooLarge, http.StatusRequestEntityTooLarge, "raise the limit of the registry, or of the gateway before it"},
	{http.StatusTooManyRequests, http.StatusTooManyRequests, "the registry limits how often it is asked; run again later, or with a lower concurrency"},
	{http.StatusInternalServerError, 599, "the registry is in trouble; run again later"},
	{0, 999, "make sure that this is a registry, then run again"},
}

// advise adds what to do to a registry's error.
func advise(err error) error {
	status := 0
	var response *errcode.ErrorResponse
	var network *url.Error
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return err // that the run has ended is said elsewhere
	case errors.As(err, &response):
		status = response.StatusCode
	case errors.Is(err, errdef.ErrNotFound):
		status = http.StatusNotFound
	case errors.As(err, &network):
		return fmt.Errorf("the registry gave no good answer; run again, and make sure that it can be reached: %w", err)
	}
	for _, a := range advice {
		if status >= a.from && status <= a.to {
			return fmt.Errorf("%s: %w", a.text, err)
		}
	}
	return err
}
