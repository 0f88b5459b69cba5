// Soak is the main job: the quick catalogue, then cycles of faults on one
// long-lived server, then the verdict and the report.
package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/halfopen/halfopen/harness"
	"github.com/halfopen/halfopen/harness/leak"
)

func main() {
	o := options{}
	cmd := &cobra.Command{
		Use:   "soak",
		Short: "prove that a TCP server and its clients leak nothing when the network dies badly",
		Long: `soak runs the quick catalogue of stories, then a soak: cycles of visitors, a fault,
the window in which everything must be gone, the verdict, the heal, service back,
on one long-lived server until the duration is over. It ends with a report.

The last line of its output is

    verdict=PASS exit=0 report=reports/runs/.../index.html

Exit status: 0 pass; 1 leak, late or dead; 2 usage or set-up; 3 inconclusive.
Ctrl-C once ends the cycle, heals and reports what was done; twice, at once.`,
		Example: `  scripts/soak --duration 2m
  DURATION=1m MUTANT=parked-handler scripts/soak
  scripts/soak --target my-server.yaml
  scripts/soak --evidence full        # whole packets of what does not pass, to be decrypted`,
		Args:          cobra.NoArgs,
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			code, err := o.run(cmd.Context())
			if err != nil {
				return err
			}
			os.Exit(code)
			return nil
		},
	}
	err := o.fromEnvironment()
	f := cmd.Flags()
	f.DurationVar(&o.duration, "duration", o.duration, "how long the soak takes, the catalogue not counted [DURATION]")
	f.StringVar(&o.target, "target", o.target, "YAML file of the system under test (default "+harness.DefaultTarget+") [TARGET]")
	f.StringVar(&o.mutant, "mutant", o.mutant, "leak to plant in the target, to see it caught [MUTANT]")
	f.Int64Var(&o.seed, "seed", o.seed, "seed of every draw; from the clock if 0 [SEED]")
	f.StringVar(&o.shard, "shard", o.shard, "which of how many runs that share the work, 2/4: faults of its own; JOB_COMPLETION_INDEX stands for it too [SHARD]")
	f.StringSliceVar(&o.require, "require", o.require, "resources that must be stated, or the run is inconclusive: heap, RssAnon [REQUIRE]")
	f.StringVar(&o.evidence, "evidence", o.evidence, "what is kept of what does not pass: none; short, headers of packets, logs, dumps and tables; full, whole packets and the keys of TLS too [EVIDENCE]")
	f.IntVar(&o.labs, "labs", o.labs, "soaks that run side by side, each with a server of its own: more exposures, if there are cores for them [LABS]")
	f.IntVar(&o.procs, "procs", catalogueProcs, "stories of the catalogue that run at once")
	f.BoolVar(&o.catalogue, "catalogue", true, "run the catalogue before the soak")
	cmd.AddCommand(rehearseCommand())
	cmd.CompletionOptions.DisableDefaultCmd = true
	if err == nil {
		err = cmd.Execute()
	}
	if err == nil {
		return
	}
	fmt.Fprintln(os.Stderr, "soak:", err)
	os.Exit(2)
}

// catalogueProcs is how many stories of the catalogue run at once, if the user does not say.
const catalogueProcs = 8

// options are what the user may choose.
type options struct {
	duration  time.Duration
	target    string
	mutant    string
	seed      int64
	procs     int
	labs      int
	shard     string
	require   []string
	evidence  string // what is kept of a round that is no PASS
	catalogue bool
}

// fromEnvironment reads the variables that stand for flags; a flag goes before
// its variable.
func (o *options) fromEnvironment() error {
	o.duration = 10 * time.Minute
	if text := os.Getenv("DURATION"); text != "" {
		d, err := time.ParseDuration(text)
		if err != nil {
			return fmt.Errorf("DURATION=%s: want a time like 10m or 90s", text)
		}
		o.duration = d
	}
	if text := os.Getenv("SEED"); text != "" {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return fmt.Errorf("SEED=%s: want a whole number", text)
		}
		o.seed = n
	}
	o.labs = 1
	if text := os.Getenv("LABS"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil {
			return fmt.Errorf("LABS=%s: want a whole number", text)
		}
		o.labs = n
	}
	if text := os.Getenv("REQUIRE"); text != "" {
		o.require = strings.Split(text, ",")
	}
	o.evidence = cmp.Or(os.Getenv("EVIDENCE"), harness.EvidenceShort)
	o.shard = os.Getenv("SHARD")
	o.target, o.mutant = os.Getenv("TARGET"), os.Getenv(harness.EnvMutant)
	return nil
}

// check refuses what makes no sense, and fills in what was left open.
func (o *options) check() error {
	switch {
	case o.duration <= 0:
		return errors.New("duration must be more than zero: try --duration 2m")
	case o.procs < 1:
		return errors.New("procs must be at least 1")
	case o.labs < 1:
		return errors.New("labs must be at least 1")
	}
	if err := harness.CheckEvidence(o.evidence); err != nil {
		return err
	}
	for _, name := range o.require {
		if name != leak.Heap && name != leak.RSS {
			return fmt.Errorf("require %s: want %s or %s", name, leak.Heap, leak.RSS)
		}
	}
	if o.seed == 0 {
		// Ginkgo's own seeds are seconds too, and a short one is easy to type.
		o.seed = time.Now().Unix()
	}
	return o.takeShard(os.Getenv("JOB_COMPLETION_INDEX"))
}

// seedSpace is the distance between the seeds of two shards: a seed from the clock is
// smaller for the next 260 years.
const seedSpace = 1e10

// takeShard gives the run the seeds of its shard. An Indexed Job of Kubernetes tells each
// of its pods its index, from 0.
func (o *options) takeShard(index string) error {
	if o.shard == "" && index == "" {
		return nil
	}
	var i, n int64
	if o.shard != "" {
		first, of, ok := strings.Cut(o.shard, "/")
		var errs [2]error
		i, errs[0] = strconv.ParseInt(first, 10, 32)
		n, errs[1] = strconv.ParseInt(of, 10, 32)
		if !ok || errors.Join(errs[:]...) != nil || i < 1 || i > n {
			return fmt.Errorf("shard %s: want the second of four as 2/4", o.shard)
		}
	} else {
		var err error
		if i, err = strconv.ParseInt(index, 10, 32); err != nil || i < 0 {
			return fmt.Errorf("JOB_COMPLETION_INDEX=%s: want a whole number from 0", index)
		}
		i++
		o.shard = strconv.FormatInt(i, 10)
	}
	if o.seed < 0 || o.seed >= seedSpace {
		return fmt.Errorf("seed %d: with a shard it must be below %d, for each shard has seeds of its own", o.seed, int64(seedSpace))
	}
	o.seed += i * seedSpace
	return nil
}
