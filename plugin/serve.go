// SPDX-License-Identifier: Apache-2.0

package plugin

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
	"strings"

	contract "github.com/notaryproject/notation-plugin-framework-go/plugin"
)

// maxRequest bounds a request in bytes. What notation has signed is a
// descriptor with annotations in an envelope's frame, a few kilobytes.
const maxRequest = 4 << 20

// Exit codes of the contract, section "Plugin contract".
const (
	exitSuccess = 0
	exitFailure = 1
)

// Server carries one request of the contract from the standard streams to a
// plugin and the answer back.
type Server struct {
	Plugin contract.SignPlugin
	Stdin  io.Reader
	Stdout io.Writer
	Stderr io.Writer
}

// handler answers the request of one command.
type handler func(context.Context, contract.SignPlugin, []byte) (response any, err error)

// handlers is the table of the contract's commands.
var handlers = map[string]handler{
	string(contract.CommandGetMetadata):       answer(contract.SignPlugin.GetMetadata),
	string(contract.CommandDescribeKey):       answer(contract.SignPlugin.DescribeKey),
	string(contract.CommandGenerateSignature): answer(contract.SignPlugin.GenerateSignature),
	string(contract.CommandGenerateEnvelope):  answer(contract.SignPlugin.GenerateEnvelope),
	string(contract.CommandVerifySignature):   refuse(contract.CommandVerifySignature),
}

// answer makes a handler of one of the plugin's methods.
func answer[Request, Response any](method func(contract.SignPlugin, context.Context, *Request) (*Response, error)) handler {
	return func(ctx context.Context, p contract.SignPlugin, data []byte) (any, error) {
		var request Request
		if err := decode(data, &request); err != nil {
			return nil, err
		}
		return method(p, ctx, &request)
	}
}

func refuse(command contract.Command) handler {
	return func(context.Context, contract.SignPlugin, []byte) (any, error) {
		return nil, unsupported(command)
	}
}

// IsCommand reports whether the contract has a command of this name, supported
// or not. Notation gives it as the executable's first and only argument.
func IsCommand(name string) bool { return handlers[name] != nil }

// Serve answers one request and returns the exit code of the process. The
// arguments are those after the program's name. It writes either one JSON
// document to Stdout, or one JSON error of the contract to Stderr; nothing else
// to either, and nothing in part. Once ctx has ended it returns soon.
func (s *Server) Serve(ctx context.Context, args []string) int {
	answer, err := s.respond(ctx, args)
	if err == nil {
		_, err = s.Stdout.Write(answer)
		if err == nil {
			return exitSuccess
		}
		err = fmt.Errorf("the answer can't be written to standard output: %w", err)
	}
	// There is nobody left to tell that this failed, other than by the exit code.
	_, _ = s.Stderr.Write(encodeError(err))
	return exitFailure
}

// respond returns the whole answer as it is to be written.
func (s *Server) respond(ctx context.Context, args []string) (document []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			document, err = nil, fmt.Errorf("internal error, please report it at %s/issues: %v", homepage, p)
		}
	}()
	if len(args) != 1 || !IsCommand(args[0]) {
		return nil, unknownCommand(args)
	}
	request, err := s.read(ctx)
	if err != nil {
		return nil, err
	}
	response, err := handlers[args[0]](ctx, s.Plugin, request)
	if err != nil {
		return nil, err
	}
	return encode(response)
}

func unknownCommand(args []string) error {
	what := "unknown command " + quote(strings.Join(args, " "))
	if len(args) == 0 {
		what = "the command is missing"
	}
	return contract.NewValidationErrorf("%s; notation runs this plugin with one of %s; to use the plugin yourself, run: notation-%s --help",
		what, strings.Join(slices.Sorted(maps.Keys(handlers)), ", "), Name)
}

// read reads the request. A read from a pipe or terminal can't be interrupted:
// if ctx ends first it is left behind, and ends with the process.
func (s *Server) read(ctx context.Context) ([]byte, error) {
	type result struct {
		data []byte
		err  error
	}
	done := make(chan result, 1)
	go func() {
		data, err := io.ReadAll(io.LimitReader(s.Stdin, maxRequest+1))
		done <- result{data, err}
	}()
	select {
	case <-ctx.Done():
		return nil, fmt.Errorf("interrupted while the request was read from standard input: %w", context.Cause(ctx))
	case r := <-done:
		if r.err != nil {
			return nil, fmt.Errorf("the request can't be read from standard input: %w", r.err)
		}
		if len(r.data) > maxRequest {
			return nil, contract.NewValidationErrorf("the request is longer than %d bytes, which is more than any that notation makes", maxRequest)
		}
		return r.data, nil
	}
}

// decode reads one JSON object. Members that it doesn't know are ignored, as
// the contract wants. Errors repeat no value, since one could be a secret.
func decode(data []byte, request any) error {
	if trimmed := bytes.TrimLeft(data, " \t\r\n"); len(trimmed) == 0 || trimmed[0] != '{' {
		return contract.NewValidationErrorf("the request on standard input is not a JSON object; notation writes it there; to use the plugin yourself, run: notation-%s --help", Name)
	}
	err := json.Unmarshal(data, request)
	var (
		syntax   *json.SyntaxError
		mismatch *json.UnmarshalTypeError
		corrupt  base64.CorruptInputError
	)
	switch {
	case err == nil:
		return nil
	case errors.As(err, &syntax):
		return contract.NewValidationErrorf("the request is not one JSON document: %v, at byte %d", syntax, syntax.Offset)
	case errors.As(err, &mismatch):
		is, _, _ := strings.Cut(mismatch.Value, " ") // without the number itself
		return contract.NewValidationErrorf("%s of the request is a JSON %s, expected %s", quote(mismatch.Field), is, expected(mismatch.Type))
	case errors.As(err, &corrupt):
		return contract.NewValidationErrorf("\"payload\" of the request is not base64: %v", corrupt)
	}
	return contract.NewValidationErrorf("the request can't be decoded: %v", err)
}

// expected names the JSON type that a Go type is read from.
func expected(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Slice:
		return "a string in base64"
	case reflect.Map:
		return "an object of strings"
	case reflect.Uint64:
		return "a number of 0 or more"
	}
	return "a " + t.Kind().String()
}

// encode writes a value as one line of JSON.
func encode(value any) ([]byte, error) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false) // key ids have ampersands
	if err := encoder.Encode(value); err != nil {
		return nil, fmt.Errorf("the answer can't be encoded: %w", err)
	}
	return b.Bytes(), nil
}

// encodeError writes an error as the contract's.
func encodeError(err error) []byte {
	failed := asContract(err)
	failed.Message = printable(failed.Message)
	document, err := encode(failed)
	if err != nil { // three strings can't fail
		return []byte(`{"errorCode":"ERROR"}` + "\n")
	}
	return document
}
