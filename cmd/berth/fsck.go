package main

import (
	"errors"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"berth/internal/audit"
)

// newFsckCommand is `berth fsck`: whether bytes and rows agree.
func newFsckCommand(env *environment) *cobra.Command {
	var flags storageFlags
	var opt audit.Options
	cmd := &cobra.Command{
		Use:   "fsck",
		Short: "Compare the bytes of a registry with its rows, beside a running server or without one",
		Long: `Looks for rows without bytes, bytes without rows, images that lack a layer, manifests and keys that do not
open, and upload sessions whose bytes are gone. With --deep it also reads every layer whole and compares its digest.

Without --repair nothing is changed. With it, layers that are damaged or missing are marked, so that the next push of
the same image stores them again; bytes that nothing refers to are removed, and broken sessions ended.

Exit status: 0 all is well, or was repaired; 1 something is wrong.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			s, a, err := flags.open(cmd.Context(), env)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, s.Close()) }()
			show, end := progress(env)
			opt.Progress = show
			r, err := a.Check(cmd.Context(), opt)
			end()
			return errors.Join(reportCheck(env.stdout, r, flags.asJSON), err)
		},
	}
	flags.register(cmd.Flags())
	cmd.Flags().BoolVar(&opt.Deep, "deep", false, "read every layer whole and compare its digest")
	cmd.Flags().BoolVar(&opt.Repair, "repair", false, "put right what can be put right")
	cmd.Flags().DurationVar(&opt.OrphanAge, "orphan-age", audit.OrphanAge, "how old bytes must be that nothing refers to before they count as left over")
	return cmd
}

// reportCheck prints what a check saw; what is still wrong is the error.
func reportCheck(w io.Writer, r audit.Report, asJSON bool) error {
	var err error
	if asJSON {
		err = printJSON(w, r)
	} else {
		err = checkText(w, r)
	}
	if err == nil && !r.Clean() {
		err = fmt.Errorf("%d of %d problems remain: see the table for what to do", r.Problems-r.Settled, r.Problems)
	}
	return err
}

func checkText(w io.Writer, r audit.Report) error {
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if len(r.Findings) > 0 {
		if _, err := fmt.Fprintln(out, "KIND\tREPOSITORY\tWHAT\tDETAIL\tDONE"); err != nil {
			return err
		}
	}
	for _, f := range r.Findings {
		what := f.Digest
		if what == "" {
			what = f.Location
		}
		if _, err := fmt.Fprintf(out, "%s\t%s\t%s\t%s\t%s\n", f.Kind, dash(f.Repository), what, f.Detail, dash(f.Action)); err != nil {
			return err
		}
	}
	if err := out.Flush(); err != nil {
		return err
	}
	if n := r.Problems - len(r.Findings); n > 0 {
		if _, err := fmt.Fprintf(w, "and %d more\n", n); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(w, "checked %d blobs (%d bytes), %d manifests, %d references, %d members, %d data keys, %d uploads, %d objects; "+
		"%d not readable now; %d problems, %d settled\n",
		r.Blobs, r.Bytes, r.Manifests, r.References, r.Members, r.DataKeys, r.Uploads, r.Objects, r.Unread, r.Problems, r.Settled)
	return err
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
