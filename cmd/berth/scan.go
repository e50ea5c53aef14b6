package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"berth/internal/findings"
)

// policyFailed is the exit code of scan when findings are as bad as --fail-on, or worse.
const policyFailed = 2

// scanFlags are what scan and scan diff have in common.
type scanFlags struct {
	endpoint, region, profile string
	failOn, format, platform  string
	vex                       []string
	timeout                   time.Duration
}

func (f *scanFlags) register(cmd *cobra.Command, formats []string) {
	flags := cmd.Flags()
	flags.StringVar(&f.failOn, "fail-on", "", "`SEVERITY` from which findings make the exit code 2: informational, low, medium, high or critical; undefined for any")
	flags.StringVar(&f.format, "format", formats[0], "how to print: "+strings.Join(formats, ", "))
	flags.StringArrayVar(&f.vex, "vex", nil, "OpenVEX `FILE` whose statements suppress findings, with their reasons; may be repeated")
	flags.StringVar(&f.platform, "platform", "linux/"+runtime.GOARCH, "`OS/ARCH[/VARIANT]` of the image, when the tag names an index")
	flags.DurationVar(&f.timeout, "timeout", 10*time.Minute, "how long to wait for a scan")
	flags.StringVar(&f.endpoint, "endpoint", "", "URL of the registry (default: AWS_ENDPOINT_URL_ECR, AWS_ENDPOINT_URL, else AWS itself)")
	flags.StringVar(&f.region, "region", "", "region of the registry (default: AWS_REGION)")
	flags.StringVar(&f.profile, "profile", "", "profile of the AWS configuration files (default: AWS_PROFILE)")
}

// newScanCommand is `berth scan`: what a scan found in an image.
func newScanCommand(env *environment) *cobra.Command {
	var f scanFlags
	var push bool
	formats := []string{"table", "json", "sarif", "cyclonedx", "spdx"}
	cmd := &cobra.Command{
		Use:   "scan IMAGE",
		Short: "Show the vulnerabilities of an image, as a table, JSON, SARIF or a bill of materials",
		Long: `Asks the registry, Berth or Amazon ECR, for the findings of an image, REPOSITORY:TAG or REPOSITORY@DIGEST. One that was
never scanned is scanned, and one that is being scanned is waited for. Bills of materials (cyclonedx, spdx) need the list of
all packages, which Berth has and Amazon ECR has not.

Exit codes: 0 done, 1 failed, 2 there are findings of the severity of --fail-on, or of a worse one.`,
		Example: `  berth scan flowise-server:v1 --fail-on high
  berth scan flowise-server:v1 --format sarif --vex vex.json
  berth scan flowise-server:v1 --format cyclonedx --push-sbom
  berth scan diff flowise-server:v1 flowise-server:v2`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := f.check(formats); err != nil {
				return err
			}
			sbom := f.format == "cyclonedx" || f.format == "spdx"
			if push && !sbom {
				return errors.New("--push-sbom pushes what --format says: pass --format cyclonedx or --format spdx")
			}
			ctx := cmd.Context()
			s, err := f.open(ctx)
			if err != nil {
				return err
			}
			r, err := f.report(ctx, env, s, args[0], sbom)
			if err != nil {
				return err
			}
			var out bytes.Buffer
			if err := write(&out, r, f.format); err != nil {
				return err
			}
			if push {
				digest, err := s.pushSBOM(ctx, r, f.format, out.Bytes())
				if err != nil {
					return err
				}
				if err := printAll(env.stderr, "", []string{"pushed " + r.Repository + "@" + digest + ", which refers to " + r.Digest}); err != nil {
					return err
				}
			}
			if _, err := env.stdout.Write(out.Bytes()); err != nil {
				return err
			}
			return f.judge(env, r.Findings, "")
		},
	}
	f.register(cmd, formats)
	cmd.Flags().BoolVar(&push, "push-sbom", false, "push the bill of materials to the repository, as an OCI artifact that refers to the image")
	cmd.AddCommand(newScanDiffCommand(env))
	return cmd
}

func newScanDiffCommand(env *environment) *cobra.Command {
	var f scanFlags
	formats := []string{"table", "json"}
	cmd := &cobra.Command{
		Use:   "diff FROM TO",
		Short: "Show which vulnerabilities are new, fixed and unchanged between two images",
		Long: `Compares the findings of two images, each REPOSITORY:TAG or REPOSITORY@DIGEST. A vulnerability of a package is the same
one in another version of the package.

Exit codes: 0 done, 1 failed, 2 there are new findings of the severity of --fail-on, or of a worse one.`,
		Example: "  berth scan diff flowise-server:v1 flowise-server:v2 --fail-on high",
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := f.check(formats); err != nil {
				return err
			}
			s, err := f.open(cmd.Context())
			if err != nil {
				return err
			}
			var reports [2]*findings.Report
			for i, image := range args {
				if reports[i], err = f.report(cmd.Context(), env, s, image, false); err != nil {
					return err
				}
			}
			d := findings.Compare(reports[0], reports[1])
			if f.format == "json" {
				err = printJSON(env.stdout, d)
			} else {
				err = d.Text(env.stdout)
			}
			if err != nil {
				return err
			}
			return f.judge(env, d.New, "new ")
		},
	}
	f.register(cmd, formats)
	return cmd
}

// check refuses flags that make no sense before anything is asked.
func (f *scanFlags) check(formats []string) (err error) {
	if !slices.Contains(formats, f.format) {
		return fmt.Errorf("--format %q is not known here: use one of %s", f.format, strings.Join(formats, ", "))
	}
	if f.failOn != "" {
		if f.failOn, err = findings.ParseSeverity(f.failOn); err != nil {
			return fmt.Errorf("--fail-on: %w", err)
		}
	}
	return nil
}

func (f *scanFlags) open(ctx context.Context) (*scanClient, error) {
	client, err := ecrClient(ctx, f.endpoint, f.region, f.profile)
	if err != nil {
		return nil, err
	}
	return &scanClient{ecr: client, platform: f.platform}, nil
}

// report finds out about an image, waits where that is needed, and lets VEX documents say what does not matter.
func (f *scanFlags) report(ctx context.Context, env *environment, s *scanClient, image string, packages bool) (*findings.Report, error) {
	var documents []findings.VEX
	for _, path := range f.vex {
		text, err := os.ReadFile(pathIn(env, path))
		if err != nil {
			return nil, fmt.Errorf("read the OpenVEX document: %w", err)
		}
		v, err := findings.ParseVEX(text)
		if err != nil {
			return nil, fmt.Errorf("the OpenVEX document %s cannot be used: %w", path, err)
		}
		documents = append(documents, v)
	}
	ref, err := parseImage(image)
	if err != nil {
		return nil, err
	}
	waiting, cancel := context.WithTimeoutCause(ctx, f.timeout, fmt.Errorf("the scan of %s did not end within %s: ask again later, or pass a longer --timeout", image, f.timeout))
	defer cancel()
	r, err := s.report(waiting, ref)
	if err != nil {
		if ctx.Err() == nil && waiting.Err() != nil {
			return nil, context.Cause(waiting)
		}
		return nil, fmt.Errorf("scan %s: %w", image, err)
	}
	// Statements name packages by their URLs, so the list is worth having for them too.
	if packages || len(documents) > 0 {
		if err := s.addPackages(ctx, r); err != nil && (packages || !errors.Is(err, errNoPackages)) {
			return nil, fmt.Errorf("list the packages of %s: %w", image, err)
		}
		r.Locate()
	}
	for i, v := range documents {
		r.Apply(v, filepath.Base(f.vex[i]))
	}
	if !packages {
		r.Packages = nil
	}
	r.Sort()
	return r, nil
}

func write(w io.Writer, r *findings.Report, format string) error {
	switch format {
	case "json":
		return printJSON(w, r)
	case "sarif":
		return printJSON(w, r.SARIF(version()))
	case "cyclonedx":
		return r.CycloneDX(w, version())
	case "spdx":
		return r.SPDX(w, version())
	}
	return r.Text(w)
}

// judge makes the exit code of --fail-on.
func (f *scanFlags) judge(env *environment, list []findings.Finding, what string) error {
	if f.failOn == "" {
		return nil
	}
	n := findings.AtLeast(list, f.failOn)
	if n == 0 {
		return nil
	}
	err := printAll(env.stderr, "", []string{fmt.Sprintf("policy failed: %d %sfindings are %s or worse", n, what, f.failOn)})
	if err != nil {
		return err
	}
	return &exitError{code: policyFailed}
}
