// SPDX-License-Identifier: Apache-2.0

//go:build unix

package pluginprogram

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	notationplugin "github.com/notaryproject/notation-go/plugin"
	contract "github.com/notaryproject/notation-plugin-framework-go/plugin"
)

// install makes an executable of a script. Another process that is being started may
// hold it open for writing, so it is written by one of its own.
func install(t *testing.T, script string) (folder, path string) {
	t.Helper()
	folder = t.TempDir()
	path = filepath.Join(folder, "test", FileName("test"))
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return folder, path
}

const metadata = `{"name":"test","description":"d","version":"1.0.0","url":"https://localhost","supportedContractVersions":["1.0"],"capabilities":["SIGNATURE_GENERATOR.RAW"]}`

// What a plugin says is taken as notation-go takes it, be it good or bad.
func TestAnswersAreThoseOfNotation(t *testing.T) {
	for name, script := range map[string]string{
		"good":            `echo '` + metadata + `'`,
		"another name":    `echo '` + metadata + `' | sed s/test/other/`,
		"no capabilities": `echo '` + metadata + `' | sed 's/"SIGNATURE_GENERATOR.RAW"//'`,
		"no version":      `echo '` + metadata + `' | sed s/1.0.0//`,
		"a contract":      `echo '` + metadata + `' | sed 's/"1.0"/"9.0"/'`,
		"no JSON":         `echo hello`,
		"nothing":         `:`,
		"denied":          `echo '{"errorCode":"ACCESS_DENIED","errorMessage":"no"}' >&2; exit 1`,
		"no JSON error":   `echo hello >&2; exit 1`,
		"silent failure":  `exit 3`,
	} {
		t.Run(name, func(t *testing.T) {
			folder, path := install(t, script)
			theirs, err := notationplugin.NewCLIPlugin(t.Context(), "test", path)
			if err != nil {
				t.Fatal(err)
			}
			ours, err := Installed(folder).Get(t.Context(), "test")
			if err != nil {
				t.Fatal(err)
			}
			want, wantErr := theirs.GetMetadata(t.Context(), &contract.GetMetadataRequest{})
			got, err := ours.GetMetadata(t.Context(), &contract.GetMetadataRequest{})
			if fmt.Sprint(err) != fmt.Sprint(wantErr) || reflect.TypeOf(err) != reflect.TypeOf(wantErr) || !reflect.DeepEqual(got, want) {
				t.Errorf("%T %v\nnotation: %T %v", err, err, wantErr, wantErr)
			}
		})
	}
	if _, err := Installed(t.TempDir()).Get(t.Context(), "test"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a plugin that is not there: %v", err)
	}
}

// A plugin whose child holds its streams ends with the work. notation-go's would wait.
func TestPluginEndsWithTheRun(t *testing.T) {
	folder, _ := install(t, `sleep 600 & wait`)
	plugin, err := Installed(folder).Get(t.Context(), "test")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	start := time.Now()
	_, err = plugin.DescribeKey(ctx, &contract.DescribeKeyRequest{})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
	if took := time.Since(start); took > time.Minute {
		t.Errorf("it took %v", took)
	}
}
