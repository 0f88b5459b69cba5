# make soak is the main job. make turns every failure into 2: for the exit codes
# 0 pass, 1 leak, 2 set-up, 3 inconclusive, call scripts/soak itself.

DURATION ?= 10m
export DURATION

cache = $${XDG_CACHE_HOME:-$$HOME/.cache}/halfopen

.PHONY: help soak test layers physics claims big figures leftovers shrink matrix sweep mutants bench calibrate flakes doctor lint build clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@echo
	@echo '  make turns every failure into 2; scripts/soak itself exits with'
	@echo '  0 pass, 1 leak, 2 usage or set-up, 3 inconclusive.'

soak: ## the quick catalogue, then faults in cycles for DURATION (10m)
	@scripts/soak

test: ## the checks of every commit; the last line is the count
	@scripts/test

layers: ## which layer freed what: every story on the tunnel with each layer alone
	@scripts/layers

physics: ## the window table against the kernel: bound, measured, ratio (SLOW=1: half an hour)
	@scripts/physics

claims: ## each claim of the keepalive document, tried: measured, TRUE or FALSE or TRUE IF (SLOW=1: at full length)
	@. scripts/path.sh && go build -buildvcs=false -o bin/claims ./harness/cmd/claims && exec bin/claims

big: ## stories of a crowd: 2,000 visitors at once through one fault
	go tool ginkgo -v --label-filter=big ./scenarios

figures: ## the harness's own speed against its goals: lab, sampling, verdict of a crowd
	@go run ./harness/cmd/figures

leftovers: ## kill the harness N (50) times at random; nothing may be left; RUNAS=user as root
	@LEFTOVERS_AS="$(RUNAS)" go test ./scenarios/leftovers -count=1 -v -timeout 4h -run NothingLeftBehind -rounds $(or $(N),50)

flakes: ## the quick catalogue N (30) times more; false alarms add up; HOGS=4 TARGET=FILE
	@scripts/setup.sh && . scripts/path.sh && go build -buildvcs=false -o bin/flakes ./harness/cmd/flakes && exec bin/flakes

matrix: ## every pair of fault, place, traffic, protocol; T=3: every three; LIST=1 prints the rows
	@$(if $(LIST),go run ./scenarios/cmd/matrix --t $(or $(T),2),scripts/setup.sh && . scripts/path.sh && HALFOPEN_RUN_NAME=matrix ginkgo --no-color -procs=8 --timeout=4h --label-filter=matrix ./scenarios -- -matrix=$(or $(T),2))

sweep: ## a session's life cut after each packet, both ways and each alone; FOCUS="packet 7," for some
	@scripts/setup.sh && . scripts/path.sh && go build -buildvcs=false -o bin/sweep ./scenarios/cmd/sweep && exec bin/sweep $(if $(FOCUS),--focus="$(FOCUS)")

shrink: ## a red schedule cut down to the steps that matter: MUTANT=NAME SEED=7 STEPS=30, or FILE=schedule.yaml
	@scripts/setup.sh && . scripts/path.sh && MUTANT=$(MUTANT) HALFOPEN_RUN_NAME=shrink ginkgo -v --no-color --seed=$(or $(SEED),7) --timeout=2h --label-filter=shrink ./scenarios -- -shrink $(if $(FILE),-schedule=$(FILE),-steps=$(or $(STEPS),30))

mutants: ## each planted leak must be caught and its holder named (NAMES="a b" for some)
	@. scripts/path.sh && go build -buildvcs=false -o bin/mutate ./harness/cmd/mutate && exec bin/mutate run $(NAMES)

bench: ## the tunnel beside ssh, haproxy, stunnel, frp, ...: medians and ratios (ARGS="--quick --figures bulk")
	@. scripts/path.sh && go build -buildvcs=false -o bin/ ./tunnel/cmd/tunnel ./harness/cmd/bench && exec bin/bench $(ARGS)

doctor: ## what this machine can and cannot do, what is lost, how to get it
	@scripts/doctor

LIMIT ?= 0
calibrate: ## how often the soak's rules are wrong; goes on from its last run (LIMIT=10m for a part)
	@. scripts/path.sh && go build -buildvcs=false -o bin/calibrate ./harness/cmd/calibrate && bin/calibrate --limit $(LIMIT)

lint: ## the checks that run nothing: format, vet, staticcheck, modules, workflows
	@scripts/test lint

build: ## everything, and the commands into bin/
	go build ./...
	go build -o bin/ ./tunnel/cmd/tunnel ./harness/cmd/soak ./harness/cmd/mutate ./harness/cmd/bench ./harness/cmd/flakes ./harness/cmd/calibrate ./harness/cmd/doctor ./reports/cmd/leakreport

clean: ## what builds left; RUNS=1 removes the results of runs too
	rm -rf bin "$(cache)"
	$(if $(RUNS),rm -rf reports/runs reports/mutants reports/physics reports/claims reports/sweep reports/layers reports/flakes reports/bench reports/targets reports/calibrate)
