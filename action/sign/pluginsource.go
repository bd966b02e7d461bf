// SPDX-License-Identifier: Apache-2.0

package sign

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"time"

	contract "github.com/notaryproject/notation-plugin-framework-go/plugin"

	"github.com/notation-pkcs11/notation-pkcs11/action/pluginprogram"
	"github.com/notation-pkcs11/notation-pkcs11/action/report"
)

// InstalledPlugin returns a plugin that is installed in notation on this
// machine.
func InstalledPlugin(ctx context.Context, notationPlugins, name string) (contract.SignPlugin, error) {
	plugin, err := pluginprogram.Installed(notationPlugins).Get(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("plugin_name: no plugin %s is installed in notation here (%s); set plugin_url and plugin_checksum, or install it in an earlier step: %w",
			report.Quote(name), notationPlugins, err)
	}
	return plugin, nil
}

// Bounds of a download.
const (
	maxPluginDownload = 256 << 20
	pluginDownload    = 5 * time.Minute
)

// PluginSource is where a plugin is downloaded from.
type PluginSource struct {
	Name     string
	URL      string
	Checksum string // SHA-256, lower-case hexadecimal
}

// CheckPluginURL refuses a URL that is not https: on the way, nothing must learn what
// is downloaded or keep it from being downloaded unnoticed. On loopback http will do.
func CheckPluginURL(address string) error {
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Host == "":
		return errors.New("this is not a URL")
	case u.Scheme == "https" || u.Scheme == "http" && isLoopback(u.Hostname()):
		return nil
	default:
		return fmt.Errorf("%s: the URL must begin with https://", report.Quote(withoutSecrets(u)))
	}
}

// withoutSecrets is what may be said of a URL. Its path and query may be what
// gives access, as with a presigned one.
func withoutSecrets(u *url.URL) string { return u.Scheme + "://" + u.Host }

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// Fetch downloads the plugin into a directory that is for it alone. Nothing of
// it is unpacked or run before the checksum is compared.
func (s PluginSource) Fetch(ctx context.Context, transport http.RoundTripper, folder string) (contract.SignPlugin, error) {
	plugin, err := s.install(ctx, transport, folder)
	if err != nil {
		return nil, fmt.Errorf("plugin %s of plugin_url: %w", s.Name, err)
	}
	return plugin, nil
}

func (s PluginSource) install(ctx context.Context, transport http.RoundTripper, folder string) (contract.SignPlugin, error) {
	archive := filepath.Join(folder, "download")
	if err := s.download(ctx, transport, archive); err != nil {
		return nil, err
	}
	unpacked := filepath.Join(folder, "plugin")
	if err := os.Mkdir(unpacked, 0o700); err != nil {
		return nil, err
	}
	executable := filepath.Join(unpacked, pluginprogram.FileName(s.Name))
	if err := unpack(ctx, archive, unpacked, filepath.Base(executable)); err != nil {
		return nil, err
	}
	if err := os.Chmod(executable, 0o700); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("there is no file %s in what was fetched; does plugin_name fit it?", filepath.Base(executable))
		}
		return nil, err
	}
	return pluginprogram.Open(s.Name, executable)
}

// download fetches the URL into a file, and compares the checksum.
func (s PluginSource) download(ctx context.Context, transport http.RoundTripper, file string) error {
	ctx, cancel := context.WithTimeout(ctx, pluginDownload)
	defer cancel()
	client := &http.Client{Transport: transport, CheckRedirect: func(next *http.Request, via []*http.Request) error {
		if len(via) >= 10 {
			return errors.New("too many redirects")
		}
		return CheckPluginURL(next.URL.String())
	}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL, nil)
	if err != nil {
		return err
	}
	from := withoutSecrets(req.URL)
	resp, err := client.Do(req)
	var full *url.Error
	if errors.As(err, &full) {
		err = full.Err
	}
	if err != nil {
		return fmt.Errorf("GET %s: %w", from, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s", from, resp.Status)
	}
	sum := sha256.New()
	if err := writeFile(file, io.TeeReader(resp.Body, sum), maxPluginDownload); err != nil {
		return fmt.Errorf("GET %s: %w", from, err)
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != s.Checksum {
		return fmt.Errorf("what %s has is not what plugin_checksum names: it has the SHA-256 %s, wanted is %s", from, got, s.Checksum)
	}
	return nil
}

// writeFile writes a new file of a bounded size.
func writeFile(name string, content io.Reader, limit int64) (err error) {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	n, err := io.Copy(f, io.LimitReader(content, limit+1))
	if err == nil && n > limit {
		err = fmt.Errorf("more than %d MiB", limit>>20)
	}
	return err
}
